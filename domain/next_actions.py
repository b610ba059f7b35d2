"""Offer the verbs that make sense at a purchase's stage, what mends it first, each with why and what to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domain.acts import SAMPLE, SKIPPABLE

_STUCK = ("REFUND_FAILED", "REFUND_UNKNOWN", "COMPENSATION_STUCK")
_NO_WAY_BACK = ("rolling_back", "announce", "completed")  # stages at which a cancel comes too late
_SKIPPED = {"assign_trainer": "trainer, approval and lessons", "redeem_coins": "the coins: the student keeps them"}
_WAITS_FOR_LESSONS = ("SESSIONS_PARTIAL", "SESSIONS_FAILED", "SESSION_COUNT_MISSING")


@dataclass(frozen=True)
class Action:
    """A verb that an operator may send. `values` go with it beside reason and requestKey."""

    verb: str
    why: str
    values: dict[str, Any]


START_AGAIN = Action("start_again", "Its run is closed or lost: start it again, what was done is not done twice.", {})


def actions_for(stage: str | None, code: str | None) -> list[Action]:
    """Return what an operator can do for a running purchase at this stage, parked for this reason (None: not parked).

    Values that only a person can know are samples, which are refused when they are sent unchanged.
    """
    found = _mending(stage, code) if code else []
    verbs = {action.verb for action in found}
    if code and "retry_now" not in verbs and code != "AWAITING_APPROVAL":
        found.append(Action("retry_now", "Once the cause is mended: try at once instead of at the next time.", {}))
    if code and stage in SKIPPABLE:
        skipped = _SKIPPED.get(str(stage)) or str(stage).replace("_", " ")
        found.append(Action("skip_step", f"Go on without {skipped}; nothing comes back to it.", {"step": stage}))
    if stage not in _NO_WAY_BACK and "cancel" not in verbs:
        found.append(Action("cancel", "Undo everything and give the money back.", {"refund": "full"}))
    return found


def _mending(stage: str | None, code: str) -> list[Action]:
    at_trainer = stage == "assign_trainer"
    if code == "METADATA_INCOMPLETE":
        details = {"changes": {"startDate": SAMPLE["day"], "timeSlot": SAMPLE["time"]}}
        return [Action("amend", "Fill in what is missing, as agreed with the student.", details)]
    if code == "UNKNOWN_ITEM":
        item = {"changes": {"itemType": "course", "itemId": SAMPLE["item"]}}
        return [
            Action("retry_now", "Once the item is in the catalogue.", {}),
            Action("amend", "If the payment names the wrong item.", item),
        ]
    if code == "DUPLICATE_PAYMENT_SUSPECTED":
        return [
            Action("cancel", "It was paid twice by mistake: give this payment back.", {"refund": "full"}),
            Action("amend", "The student wants both: keep it as a renewal.", {"changes": {"treatAs": "renewal"}}),
        ]
    if code == "SCHEDULE_CONFLICT":
        return [Action("amend", "Another time, as agreed with the student.", {"changes": {"timeSlot": SAMPLE["time"]}})]
    if code in ("AWAITING_APPROVAL", "ALLOCATION_NOT_APPROVED"):
        return [Action("approve_allocation", "Say yes to the proposed trainer; the lessons follow at once.", {})]
    if code in _WAITS_FOR_LESSONS:
        overrides = {"count": SAMPLE["count"]} if code == "SESSION_COUNT_MISSING" else {}
        return [Action("create_sessions", "Create what is missing; what exists stays.", {"overrides": overrides})]
    if code in _STUCK:
        again = Action("retry_now", "Once what it names is mended: try the undo again at once.", {})
        outside = Action(
            "settle_refund", "The money was given back outside the provider; two people.", {"proof": SAMPLE["proof"]}
        )
        return [again] if code == "COMPENSATION_STUCK" else [again, outside]
    if code == "NO_TRAINER_AVAILABLE" and at_trainer:
        return [
            Action("assign_trainer", "Give the lessons to a trainer you have found.", {"trainerId": SAMPLE["trainer"]}),
            Action("retry_now", "Once a trainer was added or has more time.", {}),
            Action("amend", "Another time, as agreed with the student.", {"changes": {"timeSlot": SAMPLE["time"]}}),
        ]
    return []
