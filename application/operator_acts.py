"""Operators' acts as the API sends them: each is a Temporal Update, done once per `requestKey` and answered in words.

The acts on one purchase and the bulk acts on many both use this.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from temporalio.client import (
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from application.caller import Caller
from application.case_text import taken_back
from application.context import Services
from application.errors import AppError, Conflict, Unavailable, Unprocessable
from application.find_purchase import found
from application.purchase_state import require_unpaused, start_again
from application.request_turns import waiting
from application.temporal_client import answering, run_state, send_act
from db.reads.cases import act_of
from db.reads.starts import StartRow, starts_of
from domain.outcomes import outcome_in
from workflows.inbox import AWAITING_SECOND_PERSON, UNDER_WAY
from workflows.messages import Act, check

ACTS = "acts"  # on one purchase, of request keys
ANSWER_WITHIN = 10.0  # seconds a caller waits for the outcome; then 202, and the same request asks again
_CLOSED_UNDER_IT = "AcceptedUpdateCompletedWorkflow"  # the run ended before it answered: the audit knows

_log = structlog.get_logger()


async def started(services: Services, purchase_id: str, who: Caller) -> StartRow:
    """Return the start row of a purchase that the caller may reach. Raises NotFound for any other."""
    async with services.reading() as conn:
        return await found(conn, purchase_id, who)


def require_valid(verb: str, said: Act) -> None:
    """Raise Unprocessable (INVALID_ACT) for an act that the workflow would refuse at whatever stage it is."""
    try:
        check(verb, said)
    except ApplicationError as err:
        raise Unprocessable(code=err.type or "INVALID_ACT", detail=err.message) from err


async def perform(services: Services, start: StartRow, verb: str, said: Act) -> tuple[bool, Any]:
    """Send an act; return whether it is done, and its outcome. If it is not done, sending it again returns the outcome.

    An act that waits for a second person is answered so at once, not done. An act on record under its key is answered
    from the record, whatever became of the run. Raises Unprocessable for an act that makes no sense at all, Conflict
    for one that makes none now or whose key names another act, Unavailable when Temporal or a worker does not answer.
    """
    require_valid(verb, said)
    if (known := await _on_record(services, start, verb, said)) is not None:
        if _came_too_late(verb, known):
            raise await _closed(services, start)
        require_taken(known)
        return True, known
    await require_unpaused(services.temporal, start.workflow_id)
    async with answering("update"):
        try:
            update = await send_act(services.temporal, start.workflow_id, verb, said)
        except WorkflowUpdateRPCTimeoutOrCancelledError as err:
            raise await _closed(services, start, otherwise=no_worker()) from err
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                raise await _closed(services, start) from err
            if err.status is RPCStatusCode.FAILED_PRECONDITION:
                raise no_worker() from err
            raise
    done, outcome = await outcome_of(update)
    if outcome == AWAITING_SECOND_PERSON:
        # The answer to an earlier try of this person stays, under its update id, when somebody has confirmed since.
        done, outcome = False, outcome if await _held(services, start, said) else None
    told = {"verb": verb, "request_key": said.request_key, "actor": said.actor, "done": done}
    _log.info("operator_act", workflow_id=start.workflow_id, **told)
    if _came_too_late(verb, outcome):
        raise await _closed(services, start)
    require_taken(outcome)
    return done, outcome


async def _on_record(services: Services, start: StartRow, verb: str, said: Act) -> str | None:
    """Return what the audit says this act was answered, or None. Raises Conflict when its key is another act's."""
    async with services.reading() as conn:
        known = await act_of(conn, start.purchase_id, said.request_key)
    if known is None:
        return None
    if verb == "withdraw":  # its key is the held act's
        if outcome_in(known.outcome).outcome == "withdrawn":
            return known.outcome
        raise Conflict(code="WRONG_STAGE", detail=f"This act waits for nobody any more: {known.outcome}")
    if (known.verb, said.values if known.values is None else known.values) != (verb, said.values):
        raise Conflict(code="KEY_REUSED", detail=f"This requestKey names another act: {known.verb}. Use a new one.")
    return known.outcome


async def _held(services: Services, start: StartRow, said: Act) -> bool:
    run = await run_state(services.temporal, start.workflow_id)
    return run is not None and run.running and said.request_key in run.second_person


def _came_too_late(verb: str, outcome: Any) -> bool:
    """Return whether this is a cancel of a purchase that ran through before the cancel was seen."""
    return (verb, outcome) == ("cancel", "completed")


def require_taken(outcome: Any) -> None:
    """Raise Conflict when the outcome says that the act was taken up and then refused."""
    said = outcome_in(str(outcome))
    if said.code is not None and said.outcome == "refused":
        raise Conflict(code=said.code, detail=said.detail)


def too_late(start: StartRow) -> Conflict:
    """Return the Conflict for an act on a closed run; its detail names what can be done instead."""
    if start.ending == "completed":
        detail = (
            "This purchase is completed; nothing can be retried or cancelled any more. Its case file "
            f"(GET /api/v1/admin/purchases/{start.purchase_id}/case) tells what the student has; its lessons are changed "
            f"under /api/v1/admin/purchases/{start.purchase_id}/lessons; give money back at the payment provider."
        )
    elif start.ending and start.took_no_money:
        detail = (
            f"This purchase ended ({start.code}) with no money taken. POST the payment again once it has succeeded."
        )
    elif start.ending:
        detail = (
            f"This purchase ended ({start.code or start.ending}) and {taken_back(start)}. The student may buy again."
        )
    else:
        return start_again(start)
    return Conflict(code="WRONG_STAGE", detail=detail)


async def _closed(services: Services, start: StartRow, otherwise: AppError | None = None) -> AppError:
    """Return the Conflict for a closed run from its row read again: a run writes its ending first, then it closes.

    `otherwise`: what to return instead for a purchase without an ending.
    """
    async with services.reading() as conn:
        now = (await starts_of(conn, [start.purchase_id]))[start.purchase_id]
    return otherwise if otherwise and not now.ending else too_late(now)


async def outcome_of(update: WorkflowUpdateHandle[Any]) -> tuple[bool, Any]:
    """Wait ANSWER_WITHIN; return whether it is done, and its answer. Raises Unprocessable or Conflict if refused."""
    try:
        async with waiting(), asyncio.timeout(ANSWER_WITHIN):
            outcome = await update.result()
        return (False, None) if outcome == UNDER_WAY else (True, outcome)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return False, None
    except RPCError as err:
        # Accepted, then Temporal went away or the run closed before the answer: it is known under its key.
        _log.warning("update_outcome_unknown", update_id=update.id, status=err.status.name)
        return False, None
    except WorkflowUpdateFailedError as err:
        cause = err.cause
        if isinstance(cause, ApplicationError) and cause.type == _CLOSED_UNDER_IT:
            return False, None
        code = (cause.type if isinstance(cause, ApplicationError) else None) or "WRONG_STAGE"
        detail = cause.message if isinstance(cause, ApplicationError) else "The purchase refused this act."
        problem = Unprocessable if code == "INVALID_ACT" else Conflict
        raise problem(code=code, detail=detail) from err


def no_worker() -> Unavailable:
    """Return the error for an act that no worker took up in time."""
    return Unavailable(
        code="WORKER_UNAVAILABLE",
        detail="No worker took the act up in time. It is not known whether one will: send the same request with the same "
        "key again; it is done once, and answered.",
    )
