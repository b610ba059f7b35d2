"""The acts that an operator may ask for: the types that cross Temporal, and the checks of each verb's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.days import DAY, day_of, is_day
from domain.metadata import CANONICAL, named
from domain.purchase import ITEM_TYPES, PurchaseOrder
from domain.session_count import LARGEST_COUNT, TIERS
from domain.wanted_lessons import lesson_faults
from domain.whole_numbers import is_whole

SKIPPABLE = ("redeem_coins", "enroll", "assign_trainer", "approve_allocation", "create_sessions", "issue_test_cards")
REFUNDS = ("full", "undelivered", "none")
SCHEDULE = ("startDate", "timeSlot", "scheduleType", "sessionDuration", "isSundayOnly")
_LESSONS = (*SCHEDULE, "learningMode", "groupSize", "preferredTrainerId")
_TEXTS = ("classTypeId", "processingItemId", "courseId", "itemId")


# What offers of an act hold where only a person knows the value; refused when sent as it is.
SAMPLE = {
    "day": "YYYY-MM-DD",
    "time": "HH:MM",
    "item": "the-right-course",
    "trainer": "the-trainer-you-found",
    "count": "how many",
    "proof": "how it was given back",
}


@dataclass(frozen=True)
class Decision:
    """What an operator decided, for the steps that read it.

    `values` have the form `check_values` accepts for the verb.
    """

    order: PurchaseOrder
    request_key: str
    verb: str
    actor: str
    reason: str
    values: dict[str, Any]
    stores: bool = True  # steps or undos read it; else only its key is looked at


@dataclass(frozen=True)
class ActRecord:
    """One row of the audit. `before` and `after` are the state the act found and left, as a case file can show it."""

    order: PurchaseOrder
    request_key: str
    verb: str
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    second_actor: str = ""
    values: dict[str, Any] = field(default_factory=dict[str, Any])


def check_values(verb: str, values: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a verb's values, one sentence per fault that names the field.

    Empty when all is well.
    """
    check = _CHECKS.get(verb)
    if check is None:
        return [f"{named(verb)} is no verb; there are {', '.join(_CHECKS)}"]
    samples = [name for name, value in values.items() if isinstance(value, str) and value in SAMPLE.values()]
    return [f"{name}: this is only the sample, say what it is to be" for name in samples] or check(values)


def _amend(values: Mapping[str, Any]) -> list[str]:
    if not values:
        return ["there is nothing to amend"]
    faults = _unknown(values, *CANONICAL, "itemId", "itemType", "treatAs")
    faults += [f"{name} is null: say what it is to be" for name, value in values.items() if value is None]
    given = {name: value for name, value in values.items() if value is not None}
    faults += lesson_faults({name: value for name, value in given.items() if name in _LESSONS})
    for name in sorted(_RULES.keys() & given.keys()):
        holds, wanted = _RULES[name]
        if not holds(given[name]):
            faults.append(f"{name} is not {wanted}")
    return faults


def _create_sessions(values: Mapping[str, Any]) -> list[str]:
    given = {name: value for name, value in values.items() if value is not None}
    faults = _unknown(given, "count", *SCHEDULE)
    if "count" in given and not _is_count(given["count"]):
        faults.append(f"count is not {_COUNT}")
    return faults + lesson_faults({name: value for name, value in given.items() if name in SCHEDULE})


def _assign_trainer(values: Mapping[str, Any]) -> list[str]:
    trainer = values.get("trainerId")
    return _unknown(values, "trainerId") + ([] if _is_text(trainer) else ["trainerId is missing: say who"])


def _skip_step(values: Mapping[str, Any]) -> list[str]:
    step = values.get("step")
    faults = [] if step in SKIPPABLE else [f"this step cannot be skipped, only {', '.join(SKIPPABLE)}"]
    return _unknown(values, "step") + faults


def _cancel(values: Mapping[str, Any]) -> list[str]:
    refund = values.get("refund")
    faults = [] if refund is None or refund in REFUNDS else [f"refund is none of {', '.join(REFUNDS)}"]
    return _unknown(values, "refund") + faults


def _extend(values: Mapping[str, Any]) -> list[str]:
    day = values.get("expiryDate")
    return _unknown(values, "expiryDate") + ([] if day_of(day) else [f"expiryDate is not {DAY}"])


def _settle_refund(values: Mapping[str, Any]) -> list[str]:
    proof = values.get("proof")
    fine = _is_text(proof) and len(str(proof)) <= 500
    return _unknown(values, "proof") + ([] if fine else ["proof is missing: say how the money was given back"])


def _nothing(values: Mapping[str, Any]) -> list[str]:
    return _unknown(values)


_CHECKS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "amend": _amend,
    "assign_trainer": _assign_trainer,
    "approve_allocation": _nothing,
    "create_sessions": _create_sessions,
    "cancel": _cancel,
    "extend": _extend,
    "skip_step": _skip_step,
    "retry_now": _nothing,
    "settle_refund": _settle_refund,
    "withdraw": _nothing,
}


def _unknown(values: Mapping[str, Any], *known: str) -> list[str]:
    may = f"may be given: {', '.join(known)}" if known else "this verb takes no values"
    return [f"{named(name)} is not known here; {may}" for name in values if name not in known]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()  # else PostgreSQL may refuse it


def _is_count(value: Any) -> bool:
    return is_whole(value) and 1 <= value <= LARGEST_COUNT


_COUNT = f"a whole number from 1 to {LARGEST_COUNT}"
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_TEXTS, (_is_text, "a text that says something")),
    "sessionCount": (_is_count, _COUNT),
    "purchaseTier": (lambda value: is_whole(value) and value in TIERS, "10, 20 or 30"),
    "expiryDate": (is_day, DAY),
    "itemType": (lambda value: isinstance(value, str) and value in ITEM_TYPES, f"one of {', '.join(ITEM_TYPES)}"),
    "treatAs": (lambda value: value == "renewal", "'renewal'"),
}
