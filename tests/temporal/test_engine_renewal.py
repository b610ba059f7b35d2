"""A purchase parked for weeks goes on in a new run before its history fills (engine law 5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from domain.access import AccessLook
from domain.ids import expiry_id_of
from domain.purchase import PaymentConfirmed, PurchaseOrder
from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes
from tests.servers import temporal_server
from tests.temporal.conftest import FAST, QUEUE, Handle
from tests.temporal.fakes import RESULTS, Answer, Fakes, Hold, Refuse, Trouble
from tests.temporal.messages import act, cancelling, parked
from tests.temporal.test_engine_endings import WHOLE, ending_of, made_whole
from tests.waiting import eventually
from workflows.attributes import ATTENTION_REASON, NEEDS_ATTENTION
from workflows.expiry import ExpiryInput, ExpiryWorkflow
from workflows.inbox import AWAITING_SECOND_PERSON, UNDER_WAY
from workflows.messages import Cancel, Extend
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
    await eventually(lambda: fakes.calls[order.purchase_id].count("confirm_payment") >= 2)  # it goes on in a new run
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
    undone = [undo for undo, _ in groupby(made_whole(fakes.did(order)))]
    # Everybody's undo once, in order; only the stuck one again, in a run that does no step anew.
    assert undone == [*WHOLE, "unenroll"]
    calls = fakes.did(order)
    assert not set(calls[calls.index("rule_out_completion") :]) & {step.name for step in TABLE}
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
    assert made_whole(fakes.did(order)) == WHOLE


async def test_a_completed_purchase_that_goes_on_in_a_new_run_is_past_every_cancel(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plan(order, "confirm_payment", Answer(RESULTS["confirm_payment"]), hold)
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    fakes.plan(order, "record_act", *[Trouble()] * 400)
    handle = await begin(served, order, Rules(quick_tries=1, trouble_pause=0.05, trouble_pause_most=0.05))
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("k")) == "done"
    await hold.entered.wait()  # the new run begins from the start; the one before had ended but for its record
    assert "PURCHASE_COMPLETED" in [news.event for news in fakes.announced[order.purchase_id]]
    await handle.cancel()
    fakes.plans[order.purchase_id, "record_act"].clear()
    hold.release.set()
    assert await handle.result() == "completed"
    assert made_whole(fakes.did(order)) == []


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


async def started_with(handle: Handle) -> str:
    """What its current run was started with, as it travels."""
    first = (await handle.fetch_history()).events[0]
    return "".join(p.data.decode() for p in first.workflow_execution_started_event_attributes.input.payloads)


async def test_a_cancel_that_cannot_be_stored_goes_on_in_a_new_run(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    fakes.plan(order, "enroll", *[Refuse("STUDENT_PROFILE_MISSING")] * 99)
    fakes.plan(order, "decide", *[Trouble()] * 40)
    rules = Rules(quick_tries=1, trouble_pause=0.02, trouble_pause_most=0.02, heal_pause=600)
    handle = await begin(served, order, rules)
    await parked(handle)
    answer = await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k"), id="first")
    assert answer == UNDER_WAY  # the run goes on in a new one: the same act again hears the outcome
    assert await ending_of(handle) == "CANCELLED"
    assert [decision.request_key for decision in fakes.decisions[order.purchase_id]] == ["k"]
    assert fakes.acts(order) == [("k", "cancel", "rolled back")]


async def test_what_a_run_hands_on_does_not_grow_with_the_acts_it_answered(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    await answers(served, order, fakes, acts=30)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("engine_worker")
async def test_nor_does_it_on_a_usual_server(temporal: Client, order: PurchaseOrder, fakes: Fakes) -> None:
    await answers(temporal, order, fakes, acts=20_000)


async def answers(client: Client, order: PurchaseOrder, fakes: Fakes, acts: int) -> None:
    """A parked purchase answers so many acts; what its runs are started with stays as small as it was."""
    fakes.plan(order, "create_purchase", *[Refuse("UNKNOWN_ITEM")] * 10 * acts)
    handle = await begin(client, order, Rules(quick_pause=0.01, gate_deadline=86_400))
    await parked(handle)
    sizes: list[int] = []
    for number in range(acts):
        while (
            await handle.execute_update(PurchaseWorkflow.retry_now, act(f"k{number:05}"), id=f"{uuid4()}") == UNDER_WAY
        ):
            pass  # the run goes on in a new one, which answers
        if number % (acts // 30) == 0:
            sizes.append(len(await started_with(handle)))
    assert fakes.calls[order.purchase_id].count("confirm_payment") > 4, "it went on in new runs"
    assert max(sizes[10:]) - min(sizes[10:]) < 400  # an act under way may go along; what was answered does not
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))
    assert await ending_of(handle) == "CANCELLED"
    assert len(fakes.acts(order)) == acts + 1


async def test_what_waits_for_a_second_person_outlives_the_run(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", *[Refuse("UNKNOWN_ITEM")] * 10_000)
    fakes.plan(order, "confirm_payment", *[Answer(PaymentConfirmed(10, "purchaseTier", 900))] * 99)
    handle = await begin(served, order, Rules(quick_pause=0.01, gate_deadline=600, two_person_limit=500))
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k")) == AWAITING_SECOND_PERSON
    number = 0
    while fakes.calls[order.purchase_id].count("confirm_payment") < 3:
        number += 1
        await handle.execute_update(PurchaseWorkflow.retry_now, act(f"k{number}"))
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel("bob", "I agree", "k")) == "rolled back"
    assert await ending_of(handle) == "CANCELLED"


async def test_a_key_that_an_earlier_run_answered_still_names_that_act(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", *[Refuse("UNKNOWN_ITEM")] * 10_000)
    handle = await begin(served, order, Rules(quick_pause=0.01, gate_deadline=600))
    await parked(handle)
    number = 0
    while fakes.calls[order.purchase_id].count("confirm_payment") < 2:
        number += 1
        await handle.execute_update(PurchaseWorkflow.retry_now, act(f"k{number}"))
    answer = await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k1"))
    assert answer.startswith("refused: KEY_REUSED")
    assert made_whole(fakes.did(order)) == []
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))


async def test_attention_of_an_earlier_run_is_cleared_when_the_step_succeeds(
    served: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plan(order, "assign_trainer", *[Refuse("NO_TRAINER_AVAILABLE")] * 9)
    fakes.plan(order, "clear_cart", hold)
    handle = await begin(served, order)
    await hold.entered.wait()
    assert fakes.calls[order.purchase_id].count("confirm_payment") > 1, "it went on in a new run"
    seen = (await handle.describe()).typed_search_attributes
    assert (seen.get(NEEDS_ATTENTION), seen.get(ATTENTION_REASON)) == (False, None)
    hold.release.set()
    assert await handle.result() == "completed"
