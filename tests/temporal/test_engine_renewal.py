"""A purchase parked for weeks goes on in a new run before its history fills (engine law 5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from domain.access import AccessLook, expiry_id_of
from domain.purchase import PurchaseOrder
from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes
from tests.servers import temporal_server
from tests.temporal.conftest import FAST, QUEUE, Handle
from tests.temporal.fakes import RESULTS, Answer, Fakes, Hold, Refuse, Trouble
from tests.temporal.messages import act, cancelling, parked
from tests.temporal.test_engine_endings import ending_of, made_whole
from workflows.expiry import ExpiryInput, ExpiryWorkflow
from workflows.messages import Extend
from workflows.policies import Rules
from workflows.purchase import PurchaseInput, PurchaseWorkflow
from workflows.steps import TABLE


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A server that asks for a new run after 70 events instead of thousands."""
    home: Path = tmp_path_factory.mktemp("impatient")
    with temporal_server(home, {"limit.historyCount.suggestContinueAsNew": 70}) as address:
        client = await connect(Settings(temporal_address=address))
        await ensure_search_attributes(client)
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def served(impatient: Client, fakes: Fakes) -> AsyncIterator[Client]:
    workflows = [PurchaseWorkflow, ExpiryWorkflow]
    async with Worker(impatient, task_queue=QUEUE, workflows=workflows, activities=fakes.activities()):
        yield impatient


async def begin(client: Client, order: PurchaseOrder, rules: Rules = FAST) -> Handle:
    return await client.start_workflow(
        PurchaseWorkflow.run, PurchaseInput(order, rules), id=order.workflow_id, task_queue=QUEUE
    )


async def test_a_parked_purchase_goes_on_in_a_new_run_and_completes(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    fakes.plan(order, "assign_trainer", *[Refuse("NO_TRAINER_AVAILABLE")] * 12)
    handle = await begin(served, order)
    assert await handle.result() == "completed"
    runs = len([call for call in fakes.calls[order.purchase_id] if call == "confirm_payment"])
    assert runs > 1
    assert made_whole(fakes.did(order)) == []


async def test_answers_and_deadlines_survive_the_new_run(served: Client, order: PurchaseOrder, fakes: Fakes) -> None:
    fakes.plan(order, "create_purchase", *[Refuse("UNKNOWN_ITEM")] * 40)
    handle = await begin(served, order, Rules(quick_pause=0.01, gate_deadline=600))
    since = (await parked(handle)).since
    for number in range(12):
        answer = await handle.execute_update(PurchaseWorkflow.retry_now, act(f"k{number}"))
        assert answer == "tried again, and refused again: UNKNOWN_ITEM"
    while fakes.calls[order.purchase_id].count("confirm_payment") < 2:  # noqa: ASYNC110 - it goes on in a new run
        await asyncio.sleep(0.01)
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("k0"), id="another id") == answer
    assert (await parked(handle)).since == since
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))


async def test_a_rollback_goes_on_where_it_was(served: Client, order: PurchaseOrder, fakes: Fakes) -> None:
    fakes.plan(order, "create_sessions", *[Refuse("SESSIONS_FAILED")] * 20)
    fakes.plan(order, "unenroll", *[Trouble()] * 8)
    handle = await begin(served, order, Rules(quick_tries=1, trouble_pause=0.05, trouble_pause_most=0.05))
    await parked(handle)
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))
    assert await ending_of(handle) == "CANCELLED"
    undone = made_whole(fakes.did(order))
    # Everybody's undo once, in order; only the stuck one again, in a run that does no step anew.
    assert undone == [
        "cancel_sessions",
        "cancel_allocation",
        "release_trainer",
        "unenroll",
        "recredit_coins",
        "void_purchase",
        "refund_payment",
        "unenroll",
    ]
    calls = fakes.did(order)
    assert not set(calls[calls.index("cancel_sessions") :]) & {step.name for step in TABLE if step.undo}
    assert [news.event for news in fakes.announced[order.purchase_id]][-1] == "PURCHASE_REFUNDED"


async def test_a_cancel_before_the_new_run_has_caught_up_undoes_all(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plan(order, "confirm_payment", Answer(RESULTS["confirm_payment"]), hold)
    fakes.plan(order, "assign_trainer", *[Refuse("NO_TRAINER_AVAILABLE")] * 40)
    handle = await begin(served, order)
    await hold.entered.wait()
    await handle.cancel()
    hold.release.set()
    assert await ending_of(handle) == "Canceled"
    assert made_whole(fakes.did(order)) == [
        "release_trainer",
        "unenroll",
        "recredit_coins",
        "void_purchase",
        "refund_payment",
    ]


async def test_the_end_of_access_goes_on_in_a_new_run_and_answers_everybody(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    fakes.plan(order, "end_access", *[Answer(AccessLook("waits", 1e9, "2027-06-30"))] * 400)
    handle = await served.start_workflow(
        ExpiryWorkflow.run, ExpiryInput(order, FAST), id=expiry_id_of(order.purchase_id), task_queue=QUEUE
    )
    first = served.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    asked = 0
    while asked < 100 and (await first.describe()).status is WorkflowExecutionStatus.RUNNING:
        act = Extend("ann", "was ill", f"k{asked}", "2027-12-31")
        assert await handle.execute_update(ExpiryWorkflow.extend, act) == "access lasts until 2027-12-31"
        asked += 1
    fakes.plans[order.purchase_id, "end_access"].clear()
    await handle.signal(ExpiryWorkflow.look_again)
    assert await handle.result() == "over"
    assert fakes.calls[order.purchase_id].count("extend_access") == asked
    assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
