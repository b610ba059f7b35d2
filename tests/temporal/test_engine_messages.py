"""What operators' messages do, also twice, also at the wrong moment (spec section 4; engine law 7)."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.update.v1 import UpdateRef
from temporalio.api.workflowservice.v1 import PollWorkflowExecutionUpdateRequest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from domain.purchase import PurchaseOrder
from tests.temporal.conftest import PATIENT, QUEUE, Start
from tests.temporal.fakes import Fakes, Hold, Refuse
from tests.temporal.messages import ACCEPTED, act, cancelling, parked
from tests.temporal.test_engine_endings import WHOLE, ending_of, made_whole
from tests.waiting import eventually
from workflows.messages import Cancel
from workflows.policies import Rules
from workflows.purchase import PurchaseInput, PurchaseWorkflow


async def test_the_same_request_key_is_one_act(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "assign_trainer", *[Refuse("NO_TRAINER_AVAILABLE")] * 2)
    handle = await start(order, PATIENT)
    await parked(handle)
    again = "tried again, and refused again: NO_TRAINER_AVAILABLE"
    # Once under the update id the API gives it, once under another: the key decides.
    for update_id in ("k1:ann", "k1:ann", "other"):
        assert await handle.execute_update(PurchaseWorkflow.retry_now, act("k1"), id=update_id) == again
    assert fakes.calls[order.purchase_id].count("assign_trainer") == 2
    await handle.execute_update(PurchaseWorkflow.retry_now, act("k2"))
    assert await handle.result() == "completed"


async def test_many_at_once_are_one_try_and_all_are_answered(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    answers = await asyncio.gather(*(handle.execute_update(PurchaseWorkflow.retry_now, act(f"k{n}")) for n in range(5)))
    assert set(answers) <= {"done", "not needed: it succeeded meanwhile", "completed"}
    assert await handle.result() == "completed"
    assert fakes.calls[order.purchase_id].count("assign_trainer") == 2


async def test_a_retry_during_an_attempt_waits_for_it(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    hold = Hold()
    fakes.plan(order, "enroll", hold)
    handle = await start(order, PATIENT)
    await hold.entered.wait()
    asked = await handle.start_update(PurchaseWorkflow.retry_now, act("k"), wait_for_stage=ACCEPTED)
    hold.release.set()
    assert await asked.result() == "not needed: it succeeded meanwhile"
    assert await handle.result() == "completed"
    assert fakes.calls[order.purchase_id].count("enroll") == 1


@pytest.mark.parametrize(
    "message",
    [Cancel("", "why", "k"), Cancel("ann", " ", "k"), Cancel("ann", "why", "")],
    ids=["actor", "reason", "key"],
)
async def test_an_act_without_actor_reason_or_key_is_refused_and_leaves_no_history(
    message: Cancel, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    handle = await start(order, PATIENT)
    await parked(handle)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(PurchaseWorkflow.cancel, message)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "INVALID_ACT"
    events = [EventType.Name(event.event_type) for event in (await handle.fetch_history()).events]
    assert not [name for name in events if "EXECUTION_UPDATE" in name]
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))


async def test_two_cancels_at_once_undo_once(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "create_sessions", Refuse("SESSIONS_FAILED"))
    handle = await start(order, PATIENT)
    await parked(handle)
    answers = await asyncio.gather(
        *(handle.execute_update(PurchaseWorkflow.cancel, cancelling(f"k{n}"), id=f"k{n}:ann") for n in range(2))
    )
    assert answers == ["rolled back"] * 2
    assert await ending_of(handle) == "CANCELLED"
    assert made_whole(fakes.calls[order.purchase_id]) == WHOLE


async def is_known(temporal: Client, workflow_id: str, update_id: str) -> bool:
    """Whether the server has the update, which no history says before a worker took it."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    update = UpdateRef(workflow_execution=execution, update_id=update_id)
    try:
        await temporal.workflow_service.poll_workflow_execution_update(
            PollWorkflowExecutionUpdateRequest(namespace=temporal.namespace, update_ref=update)
        )
    except RPCError as err:
        if err.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


@pytest.mark.parametrize("how", ["operator", "client"])
async def test_a_cancel_before_the_first_task_still_asks_for_the_refund(
    how: str, temporal: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    """Engine law 1: without it the run closes canceled and the money is kept."""
    queue = f"{QUEUE}-{order.payment_id}"
    handle = await temporal.start_workflow(
        PurchaseWorkflow.run, PurchaseInput(order, Rules()), id=order.workflow_id, task_queue=queue
    )
    if how == "client":
        await handle.cancel()
        asked = None
    else:
        asked = asyncio.create_task(handle.execute_update(PurchaseWorkflow.cancel, cancelling("k"), id="k"))
        await eventually(lambda: is_known(temporal, order.workflow_id, "k"))
    async with Worker(temporal, task_queue=queue, workflows=[PurchaseWorkflow], activities=fakes.activities()):
        ended = await ending_of(handle)
    if asked:
        assert await asked == "rolled back"
    assert ended == ("CANCELLED" if how == "operator" else "Canceled")
    assert made_whole(fakes.did(order))[-1:] == ["refund_payment"]


async def test_a_cancel_through_temporal_decides_whatever_its_reason(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    await handle.cancel(reason="a\0b" + "x" * 3000)
    assert await ending_of(handle) == "Canceled"
    [decided], [record] = fakes.decisions[order.purchase_id], fakes.records[order.purchase_id]
    assert decided.reason == record.reason == "a\ufffdb" + "x" * 1997


async def test_nothing_is_remembered_between_tasks_that_the_history_does_not_hold(
    temporal: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    """A worker without a cache replays the whole run at each task."""
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    queue = f"{QUEUE}-{order.payment_id}"
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[PurchaseWorkflow],
        activities=fakes.activities(),
        max_cached_workflows=0,
    ):
        handle = await temporal.start_workflow(
            PurchaseWorkflow.run, PurchaseInput(order, PATIENT), id=order.workflow_id, task_queue=queue
        )
        await parked(handle)
        await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k"))
        assert await ending_of(handle) == "CANCELLED"
