"""Tell support what happened to a purchase: one plain sentence for each thing, in time order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from db.reads.cases import ActRow, Money, SentEvent
from db.reads.progress import ProgressEvent
from db.reads.starts import StartRow
from domain.money import amount
from domain.refusals import REFUSALS

_DOORS = {"checkout": "by the checkout", "event": "by an event", "admin": "by an admin", "free": "as a free item"}
_STEPS = {
    "confirm_payment": ("The payment was confirmed.", "The payment step was taken back."),
    "create_purchase": ("The student was given the purchase.", "The purchase was voided."),
    "redeem_coins": ("The coins were redeemed.", "Of the coins what was owed back was given back."),
    "enroll": ("The student was enrolled.", "The enrolment was ended."),
    "assign_trainer": ("A trainer was found and holds the lessons' times.", "The trainer was released."),
    "approve_allocation": ("The trainer was approved.", "The trainer's approval was taken back."),
    "create_sessions": ("The lessons were created.", "The lessons still to come were cancelled."),
    "issue_test_cards": ("The test cards were issued.", "The unused test cards were voided."),
    "clear_cart": ("The item left the student's cart.", ""),
}
_ACTS = {
    "retry_now": "tried it again",
    "amend": "amended it",
    "skip_step": "skipped a step",
    "assign_trainer": "assigned a trainer",
    "approve_allocation": "approved the trainer",
    "create_sessions": "had the lessons created",
    "cancel": "cancelled it",
}
_EVENTS = {
    "PURCHASE_NEEDS_ATTENTION": "It stopped and needed somebody",
    "PURCHASE_ATTENTION_ESCALATED": "It had needed somebody for too long and was escalated",
}
_CAME = {
    "succeeded": "was given back",
    "failed": "could not be given back",
    "settled_outside": "was given back past the provider, as operators say",
}
_ENDINGS = {
    "completed": "It was completed: the student has what was bought",
    "refused": "It ended without the purchase",
    "cancelled": "It ended as cancelled",
}

Entry = tuple[datetime, str]


def taken_back(start: StartRow) -> str:
    """Say what became of the money of a purchase that ended otherwise than completed."""
    return "no money went back" if start.refunded is False else "the student was made whole"


def timeline(
    start: StartRow,
    steps: Iterable[ProgressEvent],
    told: Iterable[SentEvent],
    acts: Iterable[ActRow],
    money: Money | None,
) -> list[Entry]:
    """Return all that is known of the purchase as (time, sentence), oldest first. `steps`: steps done and undone."""
    entries: list[Entry] = [(start.started_at, f"The purchase was started {_door(start)}.")]
    entries += [(step.at, _step(step)) for step in steps if _step(step)]
    entries += [(event.occurred_at, _event(event)) for event in told if event.type in _EVENTS]
    entries += [(act.acted_at, _act(act)) for act in acts]
    entries += _refund(money) if money else []
    if start.ending and start.ended_at:
        why = f" ({start.code})" if start.code else ""
        how = "" if start.ending == "completed" else f" and {taken_back(start)}"
        entries.append((start.ended_at, f"{_ENDINGS.get(start.ending, start.ending)}{how}{why}."))
    return sorted(entries, key=lambda entry: entry[0])


def cause_of(code: str, message: str | None) -> str:
    """Say why a purchase waits or ended: the operator's sentence of the refusal table, then what was found exactly."""
    refusal = REFUSALS.get(code)
    said = refusal.operator if refusal else f"It stopped for a reason this version does not know ({code})."
    return f"{said.removesuffix('.')}: {message}" if message else said


def _door(start: StartRow) -> str:
    door = _DOORS.get(start.origin, f"by the {start.origin}")
    paid = f" for payment {start.payment_id}, line {start.line}" if start.payment_id else ""
    again = f", start number {start.attempt}" if start.attempt > 1 else ""
    return f"{door}{paid}{again}"


def _step(changed: ProgressEvent) -> str:
    step = changed.facts["step"]
    done, undone = _STEPS.get(step, (f"{step} was done.", f"{step} was undone."))
    return done if changed.facts["state"] == "done" else undone


def _event(event: SentEvent) -> str:
    refusal = REFUSALS.get(event.code or "")
    return f"{_EVENTS[event.type]}: {refusal.operator if refusal else event.code}"


def _act(act: ActRow) -> str:
    who = f"{act.actor} and {act.second_actor}" if act.second_actor else act.actor
    return f"{who} {_ACTS.get(act.verb, act.verb)} ({act.reason}): {act.outcome}."


def _refund(money: Money) -> Iterator[Entry]:
    for each in money.refunds:
        back = amount(each.amount_minor, money.currency)
        if each.status != "settled_outside" or each.requested_at != each.settled_at:
            yield each.requested_at, f"The provider was asked to give {back} back."
        if each.settled_at:
            yield each.settled_at, f"{back} {_CAME[each.status]}."
