"""Each verb at its moment, at the wrong one, twice, and what it leaves on record (spec section 4; I10; C18)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from domain.purchase import PurchaseOrder
from tests.temporal.conftest import PATIENT, Handle, Start
from tests.temporal.fakes import Answer, Fakes, Hold, Refuse, Trouble
from tests.temporal.messages import ACCEPTED, act, cancelling, parked, progress
from tests.temporal.test_engine_endings import ending_of
from tests.waiting import eventually
from workflows.messages import Act, Amend, AssignTrainer, CreateSessions, SkipStep
from workflows.purchase import PurchaseWorkflow

WHO = ("ann", "asked for by a test")
AT_CREATE = ("create_purchase", "METADATA_INCOMPLETE")
AT_TRAINER = ("assign_trainer", "NO_TRAINER_AVAILABLE")
AT_APPROVAL = ("approve_allocation", "AWAITING_APPROVAL")
AT_SESSIONS = ("create_sessions", "SESSIONS_FAILED")

DECIDING: dict[str, tuple[tuple[str, str], Any, Act, dict[str, Any]]] = {
    "amend": (AT_CREATE, PurchaseWorkflow.amend, Amend(*WHO, "k", {"timeSlot": "18:00"}), {"timeSlot": "18:00"}),
    "assign_trainer": (
        AT_TRAINER,
        PurchaseWorkflow.assign_trainer,
        AssignTrainer(*WHO, "k", "trainer-7"),
        {"trainerId": "trainer-7"},
    ),
    "approve_allocation": (AT_APPROVAL, PurchaseWorkflow.approve_allocation, Act(*WHO, "k"), {}),
    "create_sessions": (
        AT_SESSIONS,
        PurchaseWorkflow.create_sessions,
        CreateSessions(*WHO, "k", {"count": 5}),
        {"count": 5},
    ),
}


async def park(at: tuple[str, str], order: PurchaseOrder, start: Start, fakes: Fakes) -> Handle:
    step, code = at
    fakes.plan(order, step, Refuse(code))
    handle = await start(order, PATIENT)
    await parked(handle)
    return handle


async def refusal_of(handle: Handle, update: Any, message: Act) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(update, message)
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.type or ""


@pytest.mark.parametrize("verb", DECIDING)
async def test_a_decision_is_stored_before_the_step_is_tried_again_and_then_put_on_record(
    verb: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    at, update, message, values = DECIDING[verb]
    handle = await park(at, order, start, fakes)
    assert await handle.execute_update(update, message) == "done"
    assert await handle.result() == "completed"
    [decision] = fakes.decisions[order.purchase_id]
    assert (decision.verb, decision.request_key, decision.values) == (verb, "k", values)
    calls = fakes.did(order)
    step = at[0]
    assert calls.index("decide") > calls.index(step)
    assert calls[calls.index("decide") + 1] == step
    [record] = fakes.records[order.purchase_id]
    assert (record.verb, record.actor, record.outcome) == (verb, "ann", "done")
    assert record.before == {"stage": step, "code": at[1]}
    assert record.after == {"stage": step, "code": None, "outcome": "done"}


@pytest.mark.parametrize("verb", [*DECIDING, "skip_step"])
async def test_a_verb_in_the_wrong_stage_is_refused_and_changes_nothing(
    verb: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    hold = Hold()
    fakes.plan(order, "enroll", hold)
    handle = await start(order, PATIENT)
    await hold.entered.wait()
    update, message = DECIDING[verb][1:3] if verb in DECIDING else (PurchaseWorkflow.skip_step, skip("enroll"))
    assert await refusal_of(handle, update, message) == "WRONG_STAGE"
    hold.release.set()
    assert await handle.result() == "completed"
    assert not fakes.records[order.purchase_id] + fakes.decisions[order.purchase_id]


def skip(step: str, key: str = "k") -> SkipStep:
    return SkipStep(*WHO, key, step)


@pytest.mark.parametrize(
    ("step", "left_out"),
    [
        ("redeem_coins", {"redeem_coins"}),
        ("enroll", {"enroll"}),
        ("assign_trainer", {"assign_trainer", "approve_allocation", "create_sessions"}),
        ("create_sessions", {"create_sessions"}),
    ],
)
async def test_a_skipped_step_is_left_out_and_named_at_the_end(
    step: str, left_out: set[str], order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, step, Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.skip_step, skip(step)) == "skipped"
    assert await handle.result() == "completed"
    assert fakes.announced[order.purchase_id][-1].skipped == [step]
    later = fakes.did(order)[fakes.did(order).index("decide") :]
    assert not left_out & set(later)


async def test_a_gate_cannot_be_skipped(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    handle = await park(AT_CREATE, order, start, fakes)
    assert await refusal_of(handle, PurchaseWorkflow.skip_step, skip("create_purchase")) == "INVALID_ACT"
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))


@pytest.mark.parametrize("mode", ["full", "undelivered", "none"])
async def test_what_a_cancel_decides_is_stored_before_the_first_undo(
    mode: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await park(AT_SESSIONS, order, start, fakes)
    assert await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k", mode)) == "rolled back"
    assert await ending_of(handle) == "CANCELLED"
    [decision] = fakes.decisions[order.purchase_id]
    assert (decision.verb, decision.values) == ("cancel", {"refund": mode})
    calls = fakes.did(order)
    assert calls[calls.index("decide") + 1] == "rule_out_completion"
    assert fakes.acts(order) == [("k", "cancel", "rolled back")]


async def test_every_act_leaves_one_row_however_often_it_is_sent(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "assign_trainer", *[Refuse("NO_TRAINER_AVAILABLE")] * 3)
    handle = await start(order, PATIENT)
    await parked(handle)
    for key in ("a", "b", "a"):
        await handle.execute_update(PurchaseWorkflow.retry_now, act(key))
    await handle.execute_update(PurchaseWorkflow.retry_now, act("c"))
    assert await handle.result() == "completed"
    again = "tried again, and refused again: NO_TRAINER_AVAILABLE"
    assert fakes.acts(order) == [("a", "retry_now", again), ("b", "retry_now", again), ("c", "retry_now", "done")]


async def test_a_row_that_cannot_be_written_is_owed_until_the_run_ends(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "record_act", *[Trouble()] * 4)
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, replace(PATIENT, quick_tries=1, trouble_pause=0.05, trouble_pause_most=0.05))
    await parked(handle)
    assert await handle.execute_update(PurchaseWorkflow.retry_now, act("k")) == "done"
    assert await handle.result() == "completed"
    assert fakes.acts(order) == [("k", "retry_now", "done")]


async def test_a_decision_that_is_refused_is_answered_so_and_changes_nothing(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "decide", Refuse("WRONG_STAGE"))
    handle = await park(AT_CREATE, order, start, fakes)
    answer = await handle.execute_update(PurchaseWorkflow.amend, Amend(*WHO, "k", {"timeSlot": "18:00"}))
    assert answer.startswith("refused: WRONG_STAGE")
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))
    await ending_of(handle)
    assert [act[:2] for act in fakes.acts(order)] == [("k", "amend"), ("end", "cancel")]


@pytest.mark.parametrize(
    "said",
    [
        [],
        [None],
        [{"actor": "bo", "reason": "by hand", "request_key": "s1"}],
        [{"count": 5}],
        [{"actor": "", "reason": " ", "request_key": ""}],
    ],
    ids=["no input", "null", "full", "override", "blank"],
)
async def test_the_signal_does_what_the_update_does(
    said: list[Any], order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await park(AT_SESSIONS, order, start, fakes)
    await handle.signal("create_sessions_manually", args=said)
    assert await handle.result() == "completed"
    [record] = fakes.records[order.purchase_id]
    assert (record.verb, record.outcome) == ("create_sessions", "done")
    assert all(text.strip() for text in (record.actor, record.reason, record.request_key))
    assert [d.values for d in fakes.decisions[order.purchase_id]] == ([{"count": 5}] if said == [{"count": 5}] else [])


@pytest.mark.parametrize("said", ["text", 7, [1], {"count": "many"}], ids=str)
async def test_a_signal_that_makes_no_sense_is_noted_and_ignored(
    said: Any, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await park(AT_SESSIONS, order, start, fakes)
    await handle.signal("create_sessions_manually", said)
    await handle.execute_update(PurchaseWorkflow.retry_now, act("k"))
    assert await handle.result() == "completed"
    assert any("ignored" in note for note in (await progress(handle)).notes)
    assert [verb for _, verb, _ in fakes.acts(order)] == ["retry_now"]


async def test_a_signal_at_the_wrong_stage_is_noted_and_ignored(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle = await park(AT_TRAINER, order, start, fakes)
    await handle.signal("create_sessions_manually")
    await handle.execute_update(PurchaseWorkflow.retry_now, act("k"))
    assert await handle.result() == "completed"
    assert any("not at its lessons" in note for note in (await progress(handle)).notes)


async def test_update_and_signal_at_once_are_two_acts_and_one_effect(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    hold = Hold()
    handle = await park(AT_SESSIONS, order, start, fakes)
    fakes.plan(order, "create_sessions", hold)
    asked = await handle.start_update(
        PurchaseWorkflow.create_sessions, CreateSessions(*WHO, "u1"), wait_for_stage=ACCEPTED
    )
    await hold.entered.wait()
    await handle.signal("create_sessions_manually", {"request_key": "s1"})
    hold.release.set()
    assert await asked.result() == "done"
    assert await handle.result() == "completed"
    assert {key for key, _, _ in fakes.acts(order)} == {"u1", "s1"}
    assert fakes.calls[order.purchase_id].count("create_sessions") == 2


async def test_waiting_too_long_is_told_once_more_and_does_not_hurry_the_step(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle_rules = replace(PATIENT, escalate_after=0.1)
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, handle_rules)
    await parked(handle)
    await eventually(lambda: len(fakes.announced[order.purchase_id]) >= 2)
    await handle.execute_update(PurchaseWorkflow.retry_now, act("k"))
    assert await handle.result() == "completed"
    assert [news.event for news in fakes.announced[order.purchase_id]] == [
        "PURCHASE_NEEDS_ATTENTION",
        "PURCHASE_ATTENTION_ESCALATED",
        "PURCHASE_COMPLETED",
    ]
    assert fakes.calls[order.purchase_id].count("assign_trainer") == 2


async def test_two_signals_with_a_blank_key_are_two_acts(order: PurchaseOrder, start: Start, fakes: Fakes) -> None:
    fakes.plan(order, "create_sessions", Refuse("SESSIONS_FAILED"))
    handle = await park(AT_SESSIONS, order, start, fakes)
    await handle.signal("create_sessions_manually", {"request_key": ""})
    await eventually(lambda: fakes.acts(order))
    await handle.signal("create_sessions_manually", {"request_key": ""})
    assert await handle.result() == "completed"
    again = "tried again, and refused again: SESSIONS_FAILED"
    assert [outcome for _, _, outcome in fakes.acts(order)] == [again, "done"]
    assert len({key for key, _, _ in fakes.acts(order)}) == 2


async def test_an_escalation_that_could_not_be_told_is_told_later_though_nobody_acts(
    order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_sessions", *[Refuse("SESSIONS_FAILED")] * 9)
    fakes.plan(order, "announce", Answer(None), *[Trouble()] * 3)
    handle = await start(order, replace(PATIENT, escalate_after=0.1, trouble_pause_most=0.2))
    await eventually(lambda: len(fakes.announced[order.purchase_id]) >= 2)
    tried = fakes.calls[order.purchase_id].count("create_sessions")
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("k"))
    assert await ending_of(handle) == "CANCELLED"
    assert [news.event for news in fakes.announced[order.purchase_id]] == [
        "PURCHASE_NEEDS_ATTENTION",
        "PURCHASE_ATTENTION_ESCALATED",
        "PURCHASE_REFUNDED",
    ]
    assert tried == 2
