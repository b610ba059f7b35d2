"""Acts that move much money wait for a second person, as state: they can be taken back, outlive the run, and block nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain.purchase import PaymentConfirmed, PurchaseOrder
from tests.temporal.conftest import PATIENT, Handle, Start
from tests.temporal.fakes import Answer, Fakes, Hold, Refuse
from tests.temporal.messages import act, cancelling, parked
from tests.temporal.test_engine_endings import ending_of, made_whole
from tests.waiting import eventually
from workflows.inbox import AWAITING_SECOND_PERSON, MAX_HELD
from workflows.messages import Act, Cancel, SettleRefund
from workflows.purchase import PurchaseWorkflow

LIMITED = replace(PATIENT, two_person_limit=50_000)
BOB = ("bob", "I agree")


async def refused(handle: Handle, update: Any, message: Act) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as no:
        await handle.execute_update(update, message)
    assert isinstance(no.value.cause, ApplicationError)
    return no.value.cause.type or ""


async def held_by(handle: Handle) -> dict[str, str]:
    memo = await (await handle.describe()).memo()
    return memo.get("second_person") or {}


async def waits_until_held(handle: Handle) -> str:
    """The key of what is held; the test's timeout bounds it."""
    return next(iter(await eventually(lambda: held_by(handle))))


@pytest.fixture
def dear(order: PurchaseOrder, fakes: Fakes) -> PurchaseOrder:
    """A purchase at the limit, parked at enroll."""
    fakes.plan(order, "confirm_payment", Answer(PaymentConfirmed(10, "purchaseTier", 50_000)))
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    return order


async def test_the_first_person_is_answered_at_once_and_the_second_decides(
    dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    for _ in range(2):  # the same person again is no second person
        assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k")) == AWAITING_SECOND_PERSON
    assert (await held_by(handle)).keys() == {"k"}
    assert made_whole(fakes.did(dear)) == []
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel(*BOB, "k")) == "rolled back"
    assert await ending_of(handle) == "CANCELLED"
    [record] = fakes.records[dear.purchase_id]
    assert (record.actor, record.second_actor, record.values) == ("ann", "bob", {"refund": "full"})
    assert await held_by(handle) == {}


@pytest.mark.parametrize(("first", "second"), [("full", "none"), ("full", "undelivered"), ("undelivered", "full")])
async def test_the_second_person_confirms_what_the_first_asked_and_nothing_else(
    first: str, second: str, dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k", first)) == AWAITING_SECOND_PERSON
    assert await refused(handle, PurchaseWorkflow.cancel, Cancel(*BOB, "k", second)) == "KEY_REUSED"
    assert made_whole(fakes.did(dear)) == []
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel(*BOB, "k", first)) == "rolled back"
    assert [decision.values for decision in fakes.decisions[dear.purchase_id]] == [{"refund": first}]


@pytest.mark.parametrize("refund", ["full", "undelivered", "none"])
async def test_an_amount_that_is_not_known_counts_as_large(
    refund: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "confirm_payment", Refuse("METADATA_INCOMPLETE"))
    handle = await start(order, LIMITED)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k", refund)) == AWAITING_SECOND_PERSON
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel(*BOB, "k", refund)) == "rolled back"


async def test_what_waits_for_a_second_person_goes_on_waiting_when_the_amount_is_known(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "confirm_payment", Refuse("METADATA_INCOMPLETE"), Answer(PaymentConfirmed(10, "purchaseTier", 1)))
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    handle = await start(order, LIMITED)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k", "none")) == AWAITING_SECOND_PERSON
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("again")) == "done"
    await eventually(lambda: parked(handle), lambda seen: seen.code == "STUDENT_PROFILE_MISSING")
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel(*BOB, "k", "none")) == "rolled back"
    assert await ending_of(handle) == "CANCELLED"
    [record] = [record for record in fakes.records[order.purchase_id] if record.request_key == "k"]
    assert (record.actor, record.second_actor) == ("ann", "bob")


async def test_to_give_nothing_back_of_what_is_known_to_be_paid_takes_one_person(
    dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k", "none")) == "rolled back"


async def test_below_the_limit_one_person_is_enough(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "confirm_payment", Answer(PaymentConfirmed(10, "purchaseTier", 49_999)))
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    handle = await start(order, LIMITED)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k")) == "rolled back"


async def test_a_held_act_is_withdrawn_by_anybody_and_its_key_is_spent(
    dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k"))
    withdrawn = "withdrawn by bob: a mistake"
    for _ in range(2):
        assert await handle.execute_update(PurchaseWorkflow.withdraw, Act("bob", "a mistake", "k")) == withdrawn
    assert await held_by(handle) == {}
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel(*BOB, "k")) == withdrawn
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await handle.result() == "completed"
    assert ("k", "cancel", withdrawn) in fakes.acts(dear)


async def test_only_what_is_held_can_be_withdrawn(dear: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    assert await refused(handle, PurchaseWorkflow.withdraw, act("k")) == "WRONG_STAGE"
    fakes.plan(dear, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    await handle.execute_update(PurchaseWorkflow.retry_now, act("k"))
    assert await refused(handle, PurchaseWorkflow.withdraw, act("k")) == "WRONG_STAGE"
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await handle.result() == "completed"


async def test_as_many_as_may_be_held_keep_no_other_act_from_being_done(
    dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    for number in range(MAX_HELD):
        answer = await handle.execute_update(PurchaseWorkflow.cancel, cancelling(f"k{number}"))
        assert answer == AWAITING_SECOND_PERSON
    assert await refused(handle, PurchaseWorkflow.cancel, cancelling("one more")) == "WRONG_STAGE"
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("again")) == "done"
    assert await handle.result() == "completed"
    kept = [(key, outcome) for key, verb, outcome in fakes.acts(dear) if verb == "cancel"]
    nobody = "not done: nobody had confirmed it; the purchase has ended: completed"
    assert kept == [(f"k{number}", nobody) for number in range(MAX_HELD)]


async def test_temporals_own_cancel_counts_as_the_first_person(dear: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(dear, "enroll", Refuse("STUDENT_PROFILE_MISSING"))  # the cancel makes it look again
    handle = await start(dear, LIMITED)
    await parked(handle)
    await handle.cancel()
    key = await waits_until_held(handle)
    assert "Temporal UI" in (await held_by(handle))[key]
    assert made_whole(fakes.did(dear)) == []
    assert await handle.execute_update(PurchaseWorkflow.cancel, Cancel(*BOB, key)) == "rolled back"
    assert await ending_of(handle) == "Canceled"
    [record] = fakes.records[dear.purchase_id]
    assert (record.actor, record.second_actor) == ("Temporal UI", "bob")


async def test_temporals_own_cancel_that_is_withdrawn_changes_nothing(
    dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await start(dear, LIMITED)
    await parked(handle)
    await handle.cancel()
    key = await waits_until_held(handle)
    await handle.execute_update(PurchaseWorkflow.withdraw, Act("bob", "not this one", key))
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await handle.result() == "completed"
    assert made_whole(fakes.did(dear)) == []


async def test_temporals_own_cancel_during_a_step_that_fails_is_held_and_the_step_goes_on(
    dear: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plans[dear.purchase_id, "enroll"].clear()
    fakes.plan(dear, "enroll", hold, Refuse("STUDENT_PROFILE_MISSING"))
    handle = await start(dear, LIMITED)
    await hold.entered.wait()
    await handle.cancel()
    hold.release.set()
    await waits_until_held(handle)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("again")) == "done"
    assert await handle.result() == "completed"


async def test_temporals_own_cancel_is_on_record_like_any_other(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "enroll", Refuse("STUDENT_PROFILE_MISSING"))
    handle = await start(order, PATIENT)
    await parked(handle)
    await handle.cancel()
    assert await ending_of(handle) == "Canceled"
    [record] = fakes.records[order.purchase_id]
    assert (record.verb, record.actor, record.outcome) == ("cancel", "Temporal UI", "rolled back")


async def test_of_two_cancels_at_once_the_loser_is_told_which_one_decided(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plan(order, "enroll", hold)
    handle = await start(order, PATIENT)
    await hold.entered.wait()
    asked = [
        asyncio.create_task(handle.execute_update(PurchaseWorkflow.cancel, cancelling(refund, refund)))
        for refund in ("none", "full")
    ]
    await eventually(lambda: _accepted(handle), lambda seen: seen >= 2)
    hold.release.set()
    answers = {await task for task in asked}
    [decision] = fakes.decisions[order.purchase_id]
    assert answers == {
        "rolled back",
        f"refused: WRONG_STAGE: ann cancelled it first ({decision.request_key}), refund {decision.values['refund']}",
    }
    assert await ending_of(handle) == "CANCELLED"


async def _accepted(handle: Handle) -> int:
    events = (await handle.fetch_history()).events
    return len([event for event in events if event.HasField("workflow_execution_update_accepted_event_attributes")])


async def test_a_refund_given_outside_is_settled_by_two_people_with_proof(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", Refuse("COURSE_UNAVAILABLE"))
    fakes.plan(order, "refund_payment", Refuse("REFUND_FAILED"))
    handle = await start(order, PATIENT)  # two people whatever the amount, and with no limit at all
    await parked(handle)
    ann, bob = (SettleRefund(who, "given by bank", "s", "bank transfer 4711") for who in ("ann", "bob"))
    assert await refused(handle, PurchaseWorkflow.settle_refund, replace(ann, proof=" ")) == "INVALID_ACT"
    assert await handle.execute_update(PurchaseWorkflow.settle_refund, ann) == AWAITING_SECOND_PERSON
    assert (await parked(handle)).code == "REFUND_FAILED"
    assert await handle.execute_update(PurchaseWorkflow.settle_refund, bob) == "rolled back"
    assert await ending_of(handle) == "COURSE_UNAVAILABLE"
    assert [decision.verb for decision in fakes.decisions[order.purchase_id]] == ["settle_refund"]
    [record] = fakes.records[order.purchase_id]
    assert (record.verb, record.actor, record.second_actor) == ("settle_refund", "ann", "bob")


async def test_no_refund_is_settled_that_is_not_stuck(dear: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    handle = await start(dear, PATIENT)
    await parked(handle)
    said = SettleRefund("ann", "given by bank", "s", "bank transfer 4711")
    assert await refused(handle, PurchaseWorkflow.settle_refund, said) == "WRONG_STAGE"
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))
