"""Decide what a failure means for a purchase: a refusal of the table acts by its fate, anything else is trouble."""

from __future__ import annotations

from typing import Any, cast

from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from domain.refusals import REFUSALS, Fate
from workflows.saga_types import Failure, Kind, Step
from workflows.steps import CONFIRM_PAYMENT


def judge(err: FailureError, step: Step[Any, Any] | None, undoing: bool) -> Failure:
    """Return why it failed. `undoing`: it was the step's undo; `step` None: it was an activity beside the steps."""
    cause = err.cause if isinstance(err, ActivityError) else err
    refusal = REFUSALS.get(cause.type or "") if isinstance(cause, ApplicationError) and cause.non_retryable else None
    message = str(cause.message if isinstance(cause, FailureError) else cause or err)[:500]
    if undoing:
        money = step is CONFIRM_PAYMENT
        stuck = "COMPENSATION_STUCK" if not money else "REFUND_FAILED" if refusal else "REFUND_UNKNOWN"
        return Failure(stuck, message)
    if refusal is None:
        return Failure("STEP_TROUBLE", message)
    # Only a gate may end a purchase; a repair step waits for a decision, unless the purchase was made whole before.
    gate = step is not None and step.kind is Kind.GATE
    return Failure(
        refusal.code,
        message,
        facts=_facts(cause),
        refusal=True,
        ends=refusal.fate is Fate.END and (gate or refusal.code == "ALREADY_MADE_WHOLE"),
        waits=refusal.fate is Fate.WAIT,
        heals=refusal.heals,
        expires_as="PAYMENT_PENDING_TOO_LONG" if refusal.fate is Fate.WAIT else "",
    )


def _facts(cause: BaseException | None) -> dict[str, Any]:
    details: list[Any] = list(cause.details) if isinstance(cause, ApplicationError) else []
    return cast("dict[str, Any]", details[0]) if details and isinstance(details[0], dict) else {}
