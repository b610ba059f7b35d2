"""Change lessons by a workflow of its own, so that it works long after the purchase is completed, too."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Response
from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from api.http.act_models import ActAnswer
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.problems import problems
from api.lessons.bodies import ChangeBody, RescheduleBody, SubstituteBody, TransferBody
from application.caller import Caller
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.operator_acts import ACTS, ANSWER_WITHIN, started
from application.purchase_state import require_unpaused
from application.temporal_client import RPC_TIMEOUT, answering
from db.reads.cases import ActRow, acts_of
from db.reads.lessons import lessons_one_by_one
from db.request_keys import KeyReused, claim_key
from domain.ids import change_workflow_id_of
from domain.lesson_changes import RESCHEDULE, SUBSTITUTE, TRANSFER, LessonChange, same_ask
from domain.outcomes import outcome_in
from workflows.lesson_changes import LessonChangeWorkflow

router = APIRouter(prefix="/api/v1/admin/purchases", tags=["admin"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"model": ActAnswer, "description": "Stored and under way; the same request again tells the outcome."},
    **problems(NotFound, Conflict, Unprocessable, Unavailable),
}
_PROBLEMS = {"LESSON_NOT_FOUND": NotFound, "INVALID_ACT": Unprocessable}
Number = Annotated[int, Path(ge=1, le=1000, description="the lesson's number")]

_log = structlog.get_logger()


@router.post("/{purchase}/lessons/{number}/reschedule", summary="Give a lesson another time", responses=_RESPONSES)
async def reschedule_lesson(
    purchase: PurchaseInPath,
    number: Number,
    body: RescheduleBody,
    services: ServicesDep,
    who: CallerDep,
    response: Response,
) -> ActAnswer:
    """The trainer and the student must be free then, and the lesson must not have begun."""
    return await _answer(services, who, purchase, RESCHEDULE, body, {"number": number}, response)


@router.post(
    "/{purchase}/lessons/{number}/substitute", summary="Give a lesson to another trainer", responses=_RESPONSES
)
async def substitute_trainer(
    purchase: PurchaseInPath,
    number: Number,
    body: SubstituteBody,
    services: ServicesDep,
    who: CallerDep,
    response: Response,
) -> ActAnswer:
    """The time stays; with `rest` all later lessons go to this trainer too. The purchase keeps its own trainer."""
    return await _answer(services, who, purchase, SUBSTITUTE, body, {"number": number}, response)


@router.post(
    "/{purchase}/lessons/transfer", summary="Give all lessons to come to another trainer", responses=_RESPONSES
)
async def transfer_lessons(
    purchase: PurchaseInPath, body: TransferBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """The purchase is this trainer's from then on. Lessons given before stay with whoever gave them."""
    return await _answer(services, who, purchase, TRANSFER, body, {}, response)


async def _answer(
    services: Services,
    who: Caller,
    purchase: str,
    verb: str,
    body: ChangeBody,
    named: dict[str, Any],
    response: Response,
) -> ActAnswer:
    start = await started(services, purchase_id_from(purchase), who)
    values = {**named, **body.values()}
    change = LessonChange(start.purchase_id, body.request_key, verb, who.subject, body.reason, values)
    outcome = await _on_record(services, change)
    if outcome is None:
        await _require_lessons(services, change)
        asked = {"verb": verb, "values": values, "reason": body.reason}
        await claim_key(services.engine, ACTS, start.purchase_id, body.request_key, asked)
        outcome = await _made(services, change)
    if outcome is not None:
        _require_done(outcome)
    response.status_code = 202 if outcome is None else 200
    return ActAnswer(
        id=start.purchase_id,
        workflow_id=change_workflow_id_of(start.purchase_id, body.request_key),
        verb=verb,
        request_key=body.request_key,
        actor=who.subject,
        done=outcome is not None,
        outcome=outcome,
    )


async def _on_record(services: Services, change: LessonChange) -> str | None:
    """Return the recorded outcome of this very change, if any. Raises KeyReused: the key is another act's."""
    async with services.reading() as conn:
        kept: ActRow | None = next(
            (act for act in await acts_of(conn, change.purchase_id) if act.request_key == change.request_key), None
        )
    if kept is None:
        return None
    if kept.reason != change.reason or not same_ask(change.verb, change.values, kept.verb, kept.after):
        raise KeyReused
    return kept.outcome


async def _require_lessons(services: Services, change: LessonChange) -> None:
    """Raise NotFound or Conflict for a change that finds no lesson, before anything is stored or started."""
    async with services.reading() as conn:
        lessons = await lessons_one_by_one(conn, change.purchase_id)
    number = change.values.get("number")
    on = {lesson.number for lesson in lessons if lesson.status == "scheduled"}
    if number is not None and number not in on:
        raise NotFound(code="LESSON_NOT_FOUND", detail=f"There is no lesson {number} that is still on.")
    if not on:
        raise Conflict(code="WRONG_STAGE", detail="This purchase has no lessons to change.")


async def _made(services: Services, change: LessonChange) -> str | None:
    """Start the change, or join the one that runs; return its outcome, None: not done yet."""
    async with answering("start"):
        run = await services.temporal.start_workflow(
            LessonChangeWorkflow.run,
            change,
            id=change_workflow_id_of(change.purchase_id, change.request_key),
            task_queue=services.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,  # one that has run finds its act on record
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=RPC_TIMEOUT,
        )
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            outcome = await run.result(rpc_timeout=timedelta(seconds=ANSWER_WITHIN))
    except (TimeoutError, RPCError, WorkflowFailureError) as err:
        _log.warning("lesson_change_outcome_unknown", request_key=change.request_key, error=type(err).__name__)
        await require_unpaused(services.temporal, run.id)
        return None
    return await _on_record(services, change) or outcome


def _require_done(outcome: str) -> None:
    """Raise what a refusal is to the caller."""
    said = outcome_in(outcome)
    if said.code is not None and said.outcome == "refused":
        raise _PROBLEMS.get(said.code, Conflict)(code=said.code, detail=said.detail)
