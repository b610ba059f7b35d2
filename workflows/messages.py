"""The messages that operators send, and the check of what they hold. Inside Temporal the fields are snake_case."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from temporalio.exceptions import ApplicationError

from domain.acts import check_values
from domain.texts import SAMPLE_ACTOR, SAMPLE_REASON, signature_faults


@dataclass(frozen=True)
class Act:
    """What every act holds: who asks, why, and the key that makes it happen once."""

    actor: str = ""
    reason: str = ""
    request_key: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Cancel(Act):
    """`refund`: full, undelivered (the lessons not yet given) or none."""

    refund: str = "full"

    @property
    def values(self) -> dict[str, Any]:
        return {"refund": self.refund}


@dataclass(frozen=True)
class Amend(Act):
    """`changes`: canonical metadata fields, `itemId`, `itemType`, or {"treatAs": "renewal"}."""

    changes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def values(self) -> dict[str, Any]:
        return self.changes


@dataclass(frozen=True)
class SkipStep(Act):
    """`step`: the repair step the purchase is parked at."""

    step: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {"step": self.step}


@dataclass(frozen=True)
class AssignTrainer(Act):
    trainer_id: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {"trainerId": self.trainer_id}


@dataclass(frozen=True)
class CreateSessions(Act):
    """`overrides`: count, startDate, timeSlot, scheduleType, sessionDuration, isSundayOnly; none keeps the plan."""

    overrides: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def values(self) -> dict[str, Any]:
        return self.overrides


@dataclass(frozen=True)
class Extend(Act):
    """`expiry_date`: the new last day of access, YYYY-MM-DD."""

    expiry_date: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {"expiryDate": self.expiry_date}


@dataclass(frozen=True)
class SettleRefund(Act):
    """`proof`: how the money was given back outside the provider, such as the bank's reference."""

    proof: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {"proof": self.proof}


def data_for_ui(request_key: str, values: Mapping[str, Any]) -> str:
    """Return what to type as Data of an Update in Temporal UI; `values` have the form in which the API takes them."""
    said = {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in values.items()}
    return json.dumps({"actor": SAMPLE_ACTOR, "reason": SAMPLE_REASON, "request_key": request_key, **said})


def refuse(code: str, message: str) -> ApplicationError:
    """Return the error that a validator raises: a clear no that leaves nothing in the history."""
    return ApplicationError(message, type=code, non_retryable=True)


def check(verb: str, act: Act) -> None:
    """Raise INVALID_ACT naming everything that is missing or malformed."""
    faults = signature_faults(actor=act.actor, reason=act.reason, request_key=act.request_key)
    faults += check_values(verb, act.values)
    if faults:
        raise refuse("INVALID_ACT", "; ".join(faults))


def act_of_signal(asked: tuple[Any, ...], request_key: str) -> tuple[CreateSessions, list[str]]:
    """Return the act that `create_sessions_manually` was sent with, and what is wrong with it.

    Takes any input and never raises. The first object counts; actor, reason and request key have defaults.
    """
    objects = [cast("dict[str, Any]", each) for each in asked if isinstance(each, dict)]
    said = objects[0] if objects else {}
    signed = {"actor": "Temporal UI", "reason": "manual signal", "request_key": request_key}
    given = {name: text for name in signed if isinstance(text := said.get(name), str) and text.strip()}
    overrides = {name: value for name, value in said.items() if name not in signed}
    nested = overrides.pop("overrides", None)
    overrides |= cast("dict[str, Any]", nested) if isinstance(nested, dict) else {}
    act = CreateSessions(**signed | given, overrides=overrides)
    faults = [] if objects or not any(each is not None for each in asked) else ["its input is no object"]
    faults += check_values("create_sessions", overrides)
    faults += signature_faults(actor=act.actor, reason=act.reason, request_key=act.request_key)
    return act, faults
