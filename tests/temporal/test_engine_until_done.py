"""Whatever waits, waits in one way: hurried by each message once, told, escalated, and carried into a new run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain.purchase import PurchaseCreated, PurchaseOrder
from tests.temporal.conftest import FAST, PATIENT, Handle, Start
from tests.temporal.fakes import Answer, Fakes, Refuse, Trouble
from tests.temporal.messages import ACCEPTED, act, cancelling, parked
from tests.temporal.test_engine_endings import ending_of, made_whole
from tests.waiting import eventually
from workflows.messages import Act, Amend
from workflows.purchase import PurchaseWorkflow

ONE_TRY = replace(PATIENT, quick_tries=1)
BUSY = replace(FAST, quick_tries=1)


async def events_of(handle: Handle) -> int:
    return len((await handle.fetch_history()).events)


async def seen_trouble(fakes: Fakes, order: PurchaseOrder, name: str, times: int) -> None:
    await eventually(lambda: fakes.calls[order.purchase_id].count(name) >= times)


async def shown(handle: Handle, code: str) -> None:
    await eventually(lambda: parked(handle), lambda seen: seen.code == code, pause=0.01)


async def test_a_cancel_that_cannot_be_stored_waits_and_does_not_spin(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    fakes.plan(order, "decide", Trouble())
    handle = await start(order, ONE_TRY)
    await parked(handle)
    cancel = await handle.start_update(PurchaseWorkflow.cancel, cancelling("k"), wait_for_stage=ACCEPTED)
    await shown(handle, "STEP_TROUBLE")
    await seen_trouble(fakes, order, "announce", 2)
    quiet = await events_of(handle)
    for _ in range(20):
        assert await handle.query(PurchaseWorkflow.progress)
    assert await events_of(handle) - quiet < 10  # the end of what was told, then silence
    assert fakes.calls[order.purchase_id].count("decide") == 1
    # A message hurries it, once, and is not lost on the way.
    hurry = await handle.start_update(PurchaseWorkflow.retry_now, act("now"), wait_for_stage=ACCEPTED)
    assert await cancel.result() == "rolled back"
    assert await hurry.result() == "rolled back"
    assert await ending_of(handle) == "CANCELLED"
    assert fakes.calls[order.purchase_id].count("decide") == 2


async def test_an_amendment_that_cannot_be_stored_gives_way_to_a_cancel(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", Refuse("METADATA_INCOMPLETE"))
    fakes.plan(order, "decide", Trouble())
    handle = await start(order, ONE_TRY)
    await parked(handle)
    asked = Amend("ann", "asked", "a", {"timeSlot": "18:00"})
    amend = await handle.start_update(PurchaseWorkflow.amend, asked, wait_for_stage=ACCEPTED)
    await shown(handle, "STEP_TROUBLE")
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k")) == "rolled back"
    assert await amend.result() == "rolled back"
    assert [decision.verb for decision in fakes.decisions[order.purchase_id]] == ["cancel"]


@pytest.mark.parametrize("name", ["decide", "record_act", "announce"])
async def test_trouble_beside_the_steps_heals_by_itself_and_loses_nothing(
    name: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", Refuse("METADATA_INCOMPLETE"))
    handle = await start(order, replace(BUSY, heal_pause=600))
    await parked(handle)
    fakes.plan(order, name, *[Trouble()] * 5)
    asked = Amend("ann", "asked", "a", {"timeSlot": "18:00"})
    assert await handle.execute_update(PurchaseWorkflow.amend, asked) == "done"
    assert await handle.result() == "completed"
    assert fakes.acts(order) == [("a", "amend", "done")]
    assert [decision.verb for decision in fakes.decisions[order.purchase_id]] == ["amend"]
    assert fakes.announced[order.purchase_id][-1].event == "PURCHASE_COMPLETED"


async def test_a_stuck_undo_is_told_and_escalated(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "create_purchase", Refuse("COURSE_UNAVAILABLE"))
    fakes.plan(order, "refund_payment", Refuse("REFUND_FAILED"))
    handle = await start(order, replace(PATIENT, escalate_after=0.1))
    await seen_trouble(fakes, order, "announce", 2)
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await ending_of(handle) == "COURSE_UNAVAILABLE"
    told = [(news.event, news.code) for news in fakes.announced[order.purchase_id]]
    assert told == [
        ("PURCHASE_NEEDS_ATTENTION", "REFUND_FAILED"),
        ("PURCHASE_ATTENTION_ESCALATED", "REFUND_FAILED"),
        ("PURCHASE_REFUNDED", "COURSE_UNAVAILABLE"),
    ]


async def test_an_ending_that_cannot_be_written_is_told_too(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "create_purchase", Refuse("COURSE_UNAVAILABLE"))
    fakes.plan(order, "announce", Trouble())
    handle = await start(order, ONE_TRY)
    await shown(handle, "STEP_TROUBLE")
    await seen_trouble(fakes, order, "announce", 2)
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("now")) == "rolled back"
    assert await ending_of(handle) == "COURSE_UNAVAILABLE"
    events = [(news.event, news.code) for news in fakes.announced[order.purchase_id]]
    assert events == [("PURCHASE_NEEDS_ATTENTION", "STEP_TROUBLE"), ("PURCHASE_REFUNDED", "COURSE_UNAVAILABLE")]


async def test_the_system_wakes_a_purchase_and_it_costs_no_act(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "assign_trainer", *[Refuse("NO_TRAINER_AVAILABLE")] * 3)
    handle = await start(order, PATIENT)
    await parked(handle)
    for tries in (2, 3):  # one that leads to nothing leaves nothing
        await handle.signal(PurchaseWorkflow.wake, "trainer-7 was added")
        await seen_trouble(fakes, order, "assign_trainer", tries)
        assert fakes.acts(order) == []
    await handle.signal(PurchaseWorkflow.wake, "trainer-8 was added")
    assert await handle.result() == "completed"
    [record] = fakes.records[order.purchase_id]
    assert (record.verb, record.actor, record.reason) == ("retry_now", "system", "trainer-8 was added")


@pytest.mark.parametrize("said", [[], ["a", "b"], [None], [{"x": 1}], [7]], ids=str)
async def test_any_waking_is_taken(said: list[Any], order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    await handle.signal("wake", args=said)
    assert await handle.result() == "completed"


async def refusal(handle: Handle, update: Any, message: Act) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as no:
        await handle.execute_update(update, message)
    assert isinstance(no.value.cause, ApplicationError)
    return no.value.cause.type or ""


async def test_a_request_key_names_one_verb_and_one_body(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "create_purchase", *[Refuse("METADATA_INCOMPLETE")] * 3)
    handle = await start(order, PATIENT)
    await parked(handle)
    await handle.execute_update(PurchaseWorkflow.retry_now, act("ticket-7"))
    assert await refusal(handle, PurchaseWorkflow.cancel, cancelling("ticket-7")) == "KEY_REUSED"
    first = Amend("ann", "asked", "ticket-8", {"startDate": "2027-01-04"})
    await handle.execute_update(PurchaseWorkflow.amend, first)
    other = replace(first, changes={"startDate": "2027-02-01"})
    assert await refusal(handle, PurchaseWorkflow.amend, other) == "KEY_REUSED"
    assert made_whole(fakes.did(order)) == []
    await handle.execute_update(PurchaseWorkflow.retry_now, act("last"))
    assert await handle.result() == "completed"
    assert [decision.values for decision in fakes.decisions[order.purchase_id]] == [{"startDate": "2027-01-04"}]


@pytest.mark.parametrize(
    ("said", "about"),
    [
        (Act("your name", "why not", "k"), "sample"),
        (Act("ann", "why you do it", "k"), "sample"),
        (Act("ann", "a\x00b", "k"), "stored"),
        (Act("ann", "\ud800", "k"), "stored"),
        (Act("ann", "why", "k" * 300), "longer"),
    ],
    ids=["name", "reason", "nul", "surrogate", "key"],
)
async def test_what_could_not_be_put_on_record_is_refused(
    said: Act, about: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    handle = await start(order, PATIENT)
    await parked(handle)
    with pytest.raises(WorkflowUpdateFailedError) as no:
        await handle.execute_update(PurchaseWorkflow.retry_now, said)
    assert isinstance(no.value.cause, ApplicationError)
    assert (no.value.cause.type, about in no.value.cause.message) == ("INVALID_ACT", True)
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))


@pytest.mark.parametrize("expires", [False, True], ids=["no timer yet", "a timer waits"])
async def test_another_last_day_is_waited_for_whoever_amends_it(
    expires: bool, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    """What the API sends and what is typed into Temporal UI is the same Update: nothing follows outside the workflow."""
    created = PurchaseCreated("sessions", "course-piano", expires=expires)
    fakes.plan(order, "create_purchase", Answer(created))
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    looked = fakes.calls[order.purchase_id].count("end_access")
    asked = Amend("ann", "asked", "a", {"expiryDate": "2027-06-30"})
    assert await handle.execute_update(PurchaseWorkflow.amend, asked) == "done"
    await seen_trouble(fakes, order, "end_access", looked + 1)
    assert await handle.result() == "completed"
