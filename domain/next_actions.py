"""Which verbs make sense where a purchase stands, the one that mends it first, each with why and what to send."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from domain.acts import SKIPPABLE

_STUCK = ("REFUND_FAILED", "REFUND_UNKNOWN", "COMPENSATION_STUCK")
_NO_WAY_BACK = ("clear_cart", "rolling_back", "announce", "completed")  # stages at which a cancel comes too late
_SKIPPED = {"assign_trainer": "trainer, approval and lessons", "redeem_coins": "the coins: the student keeps them"}
_WAITS_FOR_LESSONS = ("SESSIONS_PARTIAL", "SESSIONS_FAILED", "SESSION_COUNT_MISSING")


@dataclass(frozen=True)
class Action:
    """A verb to send. `values`: what goes with it beside reason and requestKey."""

    verb: str
    why: str
    values: dict[str, Any]


def actions_for(stage: str | None, code: str | None, today: date) -> list[Action]:
    """What an operator can do for a running purchase at this stage, parked for this reason (None: not parked)."""
    found = _mending(stage, code, today) if code else []
    verbs = {action.verb for action in found}
    if code and "retry_now" not in verbs and code != "AWAITING_APPROVAL":
        found.append(Action("retry_now", "Once the cause is mended: try at once instead of at the next time.", {}))
    if code and stage in SKIPPABLE:
        skipped = _SKIPPED.get(str(stage)) or str(stage).replace("_", " ")
        found.append(Action("skip_step", f"Go on without {skipped}; nothing comes back to it.", {"step": stage}))
    if stage not in _NO_WAY_BACK and "cancel" not in verbs:
        found.append(Action("cancel", "Undo everything and give the money back.", {"refund": "full"}))
    return found


def _mending(stage: str | None, code: str, today: date) -> list[Action]:
    first_day = (today + timedelta(days=7)).isoformat()
    at_trainer = stage == "assign_trainer"
    if code == "METADATA_INCOMPLETE":
        details = {"changes": {"startDate": first_day, "timeSlot": "18:00"}}
        return [Action("amend", "Fill in what is missing, as agreed with the student.", details)]
    if code == "UNKNOWN_ITEM":
        item = {"changes": {"itemType": "course", "itemId": "the-right-course"}}
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
        return [Action("amend", "Another time, as agreed with the student.", {"changes": {"timeSlot": "19:00"}})]
    if code in ("AWAITING_APPROVAL", "ALLOCATION_NOT_APPROVED"):
        return [Action("approve_allocation", "Say yes to the proposed trainer; the lessons follow at once.", {})]
    if code in _WAITS_FOR_LESSONS:
        overrides = {"count": 10} if code == "SESSION_COUNT_MISSING" else {}
        return [Action("create_sessions", "Create what is missing; what exists stays.", {"overrides": overrides})]
    if code in _STUCK:
        return [Action("retry_now", "Once what it names is mended: try the undo again at once.", {})]
    if code == "NO_TRAINER_AVAILABLE" and at_trainer:
        return [
            Action("assign_trainer", "Give the lessons to a trainer you have found.", {"trainerId": "trainer-1"}),
            Action("retry_now", "Once a trainer was added or has more time.", {}),
            Action("amend", "Another time, as agreed with the student.", {"changes": {"timeSlot": "19:00"}}),
        ]
    return []
