"""Operators' acts as the API sends them: a Temporal Update each, done once per `requestKey`, its answer in words.

Used by the verbs over one purchase and by the bulk over many.
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

from api.auth import Caller
from api.expiry import look_again
from api.found import found
from api.problems import Conflict, Unavailable, Unprocessable
from api.services import Services
from api.temporal import answering, run_state, send_act
from db.reads.starts import StartRow
from workflows.messages import Act, check

ANSWER_WITHIN = 10.0  # seconds a caller waits for the outcome; then 202, and the same request asks again
WAITS_FOR_A_SECOND = "waits for a second person, who has to send the same requestKey"
_REFUSED = "refused: "  # how the main loop answers an act that came too late for what it asks

_log = structlog.get_logger()


async def started(at: Services, purchase_id: str, who: Caller) -> StartRow:
    """The start of a purchase the caller may reach. Raises NotFound."""
    async with at.reading() as conn:
        return await found(conn, purchase_id, who)


def require_valid(verb: str, said: Act) -> None:
    """Raises Unprocessable (INVALID_ACT) for what the workflow would refuse anyway, whatever stage it is at."""
    try:
        check(verb, said)
    except ApplicationError as err:
        raise Unprocessable(code=err.type or "INVALID_ACT", detail=err.message) from err


async def perform(at: Services, start: StartRow, verb: str, said: Act) -> tuple[bool, Any]:
    """Whether it is done, and what came out; not done means accepted, and the same act again tells the outcome.

    An act that waits for a second person is answered so at once, not done.

    Raises Unprocessable for an act that makes no sense at all, Conflict for one that makes none now, Unavailable.
    A closed run still answers the keys it knows, so Temporal is asked before the database.
    """
    require_valid(verb, said)
    async with answering("update"):
        try:
            update = await send_act(at.temporal, start.workflow_id, verb, said)
        except WorkflowUpdateRPCTimeoutOrCancelledError as err:
            raise no_worker() from err
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                raise too_late(start) from err
            if err.status is RPCStatusCode.FAILED_PRECONDITION:
                raise no_worker() from err
            raise
    if verb == "cancel" and await _waits_for_a_second(at, start, said):
        return False, WAITS_FOR_A_SECOND
    done, outcome = await outcome_of(update)
    if verb == "amend" and "expiryDate" in said.values:  # also on a repeat: it may have failed the first time
        await look_again(at, start)
    told = {"verb": verb, "request_key": said.request_key, "actor": said.actor, "done": done}
    _log.info("operator_act", workflow_id=start.workflow_id, **told)
    require_taken(outcome)
    return done, outcome


def require_taken(outcome: Any) -> None:
    """Raises Conflict for an act that was taken up and then refused by what it found."""
    if isinstance(outcome, str) and outcome.startswith(_REFUSED):
        code, _, detail = outcome.removeprefix(_REFUSED).partition(": ")
        raise Conflict(code=code, detail=detail)


def too_late(start: StartRow) -> Conflict:
    """The run is closed: names what can be done instead."""
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
        detail = f"This purchase ended ({start.code or start.ending}) and was made whole. The student may buy again."
    else:
        detail = "This purchase has no running workflow. POST its payment to /api/v1/purchases to start it."
    return Conflict(code="WRONG_STAGE", detail=detail)


async def _waits_for_a_second(at: Services, start: StartRow, said: Act) -> bool:
    run = await run_state(at.temporal, start.workflow_id)
    return run is not None and run.running and run.second_person.get(said.request_key) == said.actor


async def outcome_of(update: WorkflowUpdateHandle[Any]) -> tuple[bool, Any]:
    """Whether it is done, and the answer. Raises Unprocessable or Conflict when the validator refused it."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            return True, await update.result()
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        return False, None
    except RPCError as err:
        # Accepted, then Temporal went away or the run closed before the answer: it is known under its key.
        _log.warning("update_outcome_unknown", update_id=update.id, status=err.status.name)
        return False, None
    except WorkflowUpdateFailedError as err:
        cause = err.cause
        code = (cause.type if isinstance(cause, ApplicationError) else None) or "WRONG_STAGE"
        detail = cause.message if isinstance(cause, ApplicationError) else "The purchase refused this act."
        problem = Unprocessable if code == "INVALID_ACT" else Conflict
        raise problem(code=code, detail=detail) from err


def no_worker() -> Unavailable:
    """Nobody took the act up."""
    return Unavailable(
        code="WORKER_UNAVAILABLE",
        detail="No worker took the act up in time. It was not stored: send the same request again.",
    )
