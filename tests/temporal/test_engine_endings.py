"""What a refusal, trouble or a cancel at each step of THE TABLE ends in, on a real server (rows 34, 52, 70; C7)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from domain.purchase import PurchaseCreated, PurchaseOrder, TrainerAssigned, Undone
from tests.temporal.conftest import FAST, PATIENT, Handle, Start
from tests.temporal.fakes import Answer, Fakes, Hold, Refuse, Trouble
from tests.temporal.messages import ACCEPTED, act, cancel, cancelling, parked
from workflows.policies import Rules
from workflows.purchase import PurchaseWorkflow
from workflows.saga_types import Kind, Step
from workflows.steps import (
    APPROVE_ALLOCATION,
    ASSIGN_TRAINER,
    CLEAR_CART,
    CONFIRM_PAYMENT,
    CREATE_PURCHASE,
    CREATE_SESSIONS,
    ISSUE_TEST_CARDS,
    TABLE,
)

GATES = [step for step in TABLE if step.kind is Kind.GATE]
REPAIRS = [step for step in TABLE if step.kind is Kind.REPAIR]
# What a rollback undoes, whatever was done: a run cannot know what a try whose result was lost has done.
WHOLE = [step.undo.__name__ for step in reversed(TABLE)]
BEFORE_CART = [step for step in TABLE if step is not CLEAR_CART]
OF_LESSONS = (ASSIGN_TRAINER, APPROVE_ALLOCATION, CREATE_SESSIONS)
OF_CARDS = (ISSUE_TEST_CARDS,)
HAPPY = [
    "confirm_payment",
    "create_purchase",
    "redeem_coins",
    "enroll",
    "assign_trainer",
    "approve_allocation",
    "create_sessions",
    "clear_cart",
]
HAPPY_WITH_CARDS = [*HAPPY[:4], "issue_test_cards", "clear_cart"]


def named(step: Step) -> str:
    return step.name


def bought(fakes: Fakes, order: PurchaseOrder, step: Step) -> list[str]:
    """Has something bought that brings the purchase to this step; what it does when all goes well."""
    if step not in OF_CARDS:
        return HAPPY
    fakes.sells_cards(order, coins=200)
    return HAPPY_WITH_CARDS


def last_of(step: Step) -> Step:
    """The last step with an undo of the purchase that comes to this step."""
    return ISSUE_TEST_CARDS if step in OF_CARDS else CREATE_SESSIONS


def made_whole(calls: list[str]) -> list[str]:
    return [name for name in calls if name in WHOLE]


async def ending_of(handle: Handle) -> str:
    """completed, a refusal's code, or Canceled."""
    try:
        return await handle.result()
    except WorkflowFailureError as err:
        if isinstance(err.cause, CancelledError):
            return "Canceled"
        return (isinstance(err.cause, ApplicationError) and err.cause.type) or repr(err.cause)


async def test_completes_in_the_order_of_the_sentence(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert fakes.did(order) == HAPPY
    assert [news.event for news in fakes.announced[order.purchase_id]] == ["PURCHASE_COMPLETED"]


async def test_a_subject_or_bundle_brings_cards_and_no_lessons(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.sells_cards(order, coins=200)
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert fakes.did(order) == HAPPY_WITH_CARDS


async def test_a_line_that_costs_no_coins_is_spared_their_step(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", Answer(PurchaseCreated("sessions", "course-piano")))
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert fakes.did(order) == [name for name in HAPPY if name != "redeem_coins"]


async def test_what_is_only_owned_costs_its_coins_too(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", Answer(PurchaseCreated("ownership", "course-welcome", 200)))
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert fakes.did(order) == [*HAPPY[:3], "clear_cart"]


@pytest.mark.parametrize("step", GATES, ids=named)
async def test_a_refusal_that_ends_undoes_in_reverse(
    step: Step, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, step.name, Refuse("COURSE_UNAVAILABLE"))
    assert await ending_of(await start_in_either_lane(order)) == "COURSE_UNAVAILABLE"
    assert made_whole(fakes.did(order)) == WHOLE
    [news] = fakes.announced[order.purchase_id]
    assert (news.event, news.ending, news.code) == ("PURCHASE_REFUNDED", "refused", "COURSE_UNAVAILABLE")


@pytest.mark.parametrize("step", [*GATES, *REPAIRS], ids=named)
async def test_a_refusal_that_parks_waits_for_an_operator(
    step: Step, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    fakes.plan(order, step.name, Refuse("METADATA_INCOMPLETE"))
    handle = await start_in_either_lane(order, PATIENT)
    seen = await parked(handle)
    # No try comes by itself; a gate gives up at its deadline, which is told apart from a try.
    assert (seen.stage, seen.code, seen.next_try) == (step.name, "METADATA_INCOMPLETE", None)
    assert (seen.gives_up is not None) == (step.kind is Kind.GATE)
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("k1")) == "done"
    assert await handle.result() == "completed"
    assert made_whole(fakes.did(order)) == []
    assert [news.event for news in fakes.announced[order.purchase_id]] == [
        "PURCHASE_NEEDS_ATTENTION",
        "PURCHASE_COMPLETED",
    ]


@pytest.mark.parametrize("step", REPAIRS, ids=named)
async def test_a_repair_step_never_ends_a_purchase(
    step: Step, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    fakes.plan(order, step.name, Refuse("COURSE_UNAVAILABLE"))
    handle = await start_in_either_lane(order, PATIENT)
    assert (await parked(handle)).code == "COURSE_UNAVAILABLE"
    await handle.execute_update(PurchaseWorkflow.retry_now, act("k1"))
    assert await handle.result() == "completed"


@pytest.mark.parametrize("step", TABLE, ids=named)
async def test_trouble_then_success_needs_nobody(
    step: Step, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    happy = bought(fakes, order, step)
    fakes.plan(order, step.name, Trouble(), Trouble())
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert fakes.did(order) == happy
    assert fakes.calls[order.purchase_id].count(step.name) == 3
    assert [news.event for news in fakes.announced[order.purchase_id]] == ["PURCHASE_COMPLETED"]


@pytest.mark.parametrize("step", TABLE, ids=named)
async def test_lasting_trouble_parks_heals_by_itself_and_refunds_nobody(
    step: Step, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    fakes.plan(order, step.name, *[Trouble()] * 2)
    # One quick try, so that each failure parks. The deadlines count refusals only: trouble outlives them.
    handle = await start_in_either_lane(order, replace(FAST, quick_tries=1, gate_deadline=0.01, repair_deadline=0.01))
    assert await handle.result() == "completed"
    assert fakes.calls[order.purchase_id].count(step.name) == 3
    assert made_whole(fakes.did(order)) == []
    codes = [news.code for news in fakes.announced[order.purchase_id]]
    assert codes == ["STEP_TROUBLE", ""]


@pytest.mark.parametrize("how", ["operator", "client"])
@pytest.mark.parametrize("step", BEFORE_CART, ids=named)
async def test_a_cancel_during_a_step_undoes_it_and_all_before(
    step: Step, how: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    hold = Hold()
    fakes.plan(order, step.name, hold)
    handle = await start(order, PATIENT)
    await hold.entered.wait()
    asked = await cancel(handle, how)
    hold.release.set()
    assert await ending_of(handle) == ("CANCELLED" if how == "operator" else "Canceled")
    assert made_whole(fakes.did(order)) == WHOLE
    if asked:
        assert await asked.result() == "rolled back"
    [news] = fakes.announced[order.purchase_id]
    assert (news.ending, news.code) == ("cancelled", "CANCELLED")


@pytest.mark.parametrize("how", ["operator", "client"])
@pytest.mark.parametrize("step", [*GATES, *REPAIRS], ids=named)
async def test_a_cancel_while_parked_undoes_all(
    step: Step, how: str, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    fakes.plan(order, step.name, Refuse("METADATA_INCOMPLETE"))
    handle = await start_in_either_lane(order, PATIENT)
    await parked(handle)
    await cancel(handle, how)
    assert await ending_of(handle) == ("CANCELLED" if how == "operator" else "Canceled")
    assert made_whole(fakes.did(order)) == WHOLE


@pytest.mark.parametrize("how", ["operator", "client"])
async def test_a_cancel_from_the_cart_on_changes_nothing(
    how: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plan(order, CLEAR_CART.name, hold)
    handle = await start(order)
    await hold.entered.wait()
    asked = await cancel(handle, how)
    hold.release.set()
    assert await handle.result() == "completed"
    assert made_whole(fakes.did(order)) == []
    if asked:
        assert await asked.result() == "completed"


@pytest.mark.parametrize("how", ["operator", "client"])
@pytest.mark.parametrize("step", BEFORE_CART, ids=named)
async def test_a_cancel_during_an_undo_does_not_stop_the_rest(
    step: Step, how: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    hold = Hold()
    fakes.plan(order, step.undo.__name__, hold)
    fakes.plan(order, last_of(step).name, Refuse("METADATA_INCOMPLETE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    await handle.start_update(PurchaseWorkflow.cancel, cancelling("first"), wait_for_stage=ACCEPTED)
    await hold.entered.wait()
    await cancel(handle, how)
    hold.release.set()
    assert await ending_of(handle) == "CANCELLED"
    assert made_whole(fakes.did(order)) == WHOLE


@pytest.mark.parametrize("how", ["operator", "client"])
async def test_a_cancel_before_the_cart_is_cleared_undoes_all(
    how: str, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, CLEAR_CART.name, *[Trouble()] * 3)
    handle = await start_in_either_lane(order, PATIENT)
    assert (await parked(handle)).stage == CLEAR_CART.name
    await cancel(handle, how)
    assert await ending_of(handle) == ("CANCELLED" if how == "operator" else "Canceled")
    assert made_whole(fakes.did(order)) == WHOLE


@pytest.mark.parametrize("how", ["operator", "client"])
async def test_a_cancel_that_finds_the_purchase_completed_undoes_nothing(
    how: str, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    """The results of a workflow task may be lost, what its steps did is not: the row says what was done."""
    fakes.plan(order, CREATE_SESSIONS.name, Refuse("METADATA_INCOMPLETE"))
    fakes.plan(order, "rule_out_completion", Answer(Undone(False, too_late=True)))
    handle = await start_in_either_lane(order, PATIENT)
    await parked(handle)
    asked = await cancel(handle, how)
    assert await ending_of(handle) == "completed"
    assert made_whole(fakes.did(order)) == ["rule_out_completion"]
    assert "PURCHASE_REFUNDED" not in [news.event for news in fakes.announced[order.purchase_id]]
    if asked:
        assert await asked.result() == "completed"
        assert fakes.acts(order) == [("cancel", "cancel", "completed")]


async def test_nothing_is_undone_before_completion_is_ruled_out(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, CREATE_PURCHASE.name, Refuse("COURSE_UNAVAILABLE"))
    fakes.plan(order, "rule_out_completion", *[Trouble()] * 3)
    handle = await start_in_either_lane(order, PATIENT)
    assert (await parked(handle)).code == "COMPENSATION_STUCK"
    assert made_whole(fakes.did(order)) == ["rule_out_completion"]
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await ending_of(handle) == "COURSE_UNAVAILABLE"
    assert made_whole(fakes.calls[order.purchase_id])[2:] == ["rule_out_completion", *WHOLE]


async def test_an_allocation_approved_with_the_hold_waits_for_nobody(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, ASSIGN_TRAINER.name, Answer(TrainerAssigned("allocation-1", "trainer-1", 10, approved=True)))
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert fakes.did(order) == [name for name in HAPPY if name != APPROVE_ALLOCATION.name]


@pytest.mark.parametrize("step", BEFORE_CART, ids=named)
async def test_a_stuck_undo_does_not_stop_the_others_and_is_tried_again(
    step: Step, order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    bought(fakes, order, step)
    fakes.plan(order, step.undo.__name__, *[Trouble()] * 3)
    fakes.plan(order, last_of(step).name, Refuse("METADATA_INCOMPLETE"))
    handle = await start_in_either_lane(order, PATIENT)
    await parked(handle)
    answer = await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k"))
    assert answer == f"rolling back; stuck: {step.name}"
    seen = await parked(handle)
    assert (seen.stage, seen.code) == (
        "rolling_back",
        "REFUND_UNKNOWN" if step is CONFIRM_PAYMENT else "COMPENSATION_STUCK",
    )
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await ending_of(handle) == "CANCELLED"
    undone = made_whole(fakes.did(order))
    assert undone == [*WHOLE, step.undo.__name__]


async def test_a_refused_refund_is_named_as_such(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, CREATE_PURCHASE.name, Refuse("COURSE_UNAVAILABLE"))
    fakes.plan(order, "refund_payment", Refuse("REFUND_FAILED"))
    handle = await start_in_either_lane(order, PATIENT)
    assert (await parked(handle)).code == "REFUND_FAILED"
    await handle.execute_update(PurchaseWorkflow.retry_now, act("again"))
    assert await ending_of(handle) == "COURSE_UNAVAILABLE"


async def test_a_try_that_hangs_is_given_up_and_made_again(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    """One try takes 10 s at most, here a third of a second (mission row 51)."""
    fakes.plan(order, "enroll", Hold())
    assert await (await start(order, replace(FAST, attempt=0.3))).result() == "completed"
    assert fakes.calls[order.purchase_id].count("enroll") == 2
    assert Rules().attempt == 10


async def test_an_undo_that_times_out_is_tried_again(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, CREATE_PURCHASE.name, Refuse("COURSE_UNAVAILABLE"))
    fakes.plan(order, "void_purchase", Hold())
    assert await ending_of(await start(order, replace(FAST, attempt=0.3))) == "COURSE_UNAVAILABLE"
    assert made_whole(fakes.did(order)) == WHOLE
    assert fakes.calls[order.purchase_id].count("void_purchase") == 2


async def test_a_gate_parked_on_a_refusal_ends_at_its_deadline(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, CREATE_PURCHASE.name, *[Refuse("UNKNOWN_ITEM")] * 2)
    assert await ending_of(await start_in_either_lane(order, replace(PATIENT, gate_deadline=0.2))) == "UNKNOWN_ITEM"
    assert made_whole(fakes.did(order)) == WHOLE
    assert fakes.announced[order.purchase_id][-1].ending == "refused"


async def test_a_repair_step_has_no_deadline_unless_it_is_set(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, ASSIGN_TRAINER.name, *[Refuse("NO_TRAINER_AVAILABLE")] * 2)
    assert (
        await ending_of(await start_in_either_lane(order, replace(PATIENT, repair_deadline=0.2)))
        == "NO_TRAINER_AVAILABLE"
    )


async def test_a_refusal_that_time_heals_needs_no_operator(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, ASSIGN_TRAINER.name, *[Refuse("NO_TRAINER_AVAILABLE")] * 4)
    assert await (await start_in_either_lane(order)).result() == "completed"


async def test_a_pending_payment_waits_on_a_named_timer_without_attention(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, CONFIRM_PAYMENT.name, *[Refuse("PAYMENT_PENDING")] * 3)
    assert await (await start_in_either_lane(order)).result() == "completed"
    assert [news.event for news in fakes.announced[order.purchase_id]] == ["PURCHASE_COMPLETED"]


async def test_a_payment_pending_too_long_ends_and_asks_the_provider(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, CONFIRM_PAYMENT.name, *[Refuse("PAYMENT_PENDING")] * 99)
    rules = replace(FAST, pending_deadline=0.2)
    assert await ending_of(await start_in_either_lane(order, rules)) == "PAYMENT_PENDING_TOO_LONG"
    assert made_whole(fakes.did(order)) == WHOLE


async def test_the_ending_is_written_however_long_it_takes(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "announce", *[Trouble()] * 2)
    assert await (await start_in_either_lane(order, replace(FAST, quick_tries=1))).result() == "completed"
    assert len(fakes.announced[order.purchase_id]) == 1


async def test_a_made_whole_purchase_started_again_by_a_reset_ends_at_once(
    order: PurchaseOrder, start_in_either_lane: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "enroll", Refuse("ALREADY_MADE_WHOLE"))
    assert await ending_of(await start_in_either_lane(order)) == "ALREADY_MADE_WHOLE"
