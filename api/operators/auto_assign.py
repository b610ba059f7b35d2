"""`auto-assign`, as the older system called it: the purchase's own workflow looks for a trainer (mission row 72)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import IdempotencyKey, bare
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.ids import GivenId, StudentId
from application.operator_acts import perform, too_late
from application.purchase_state import require_unpaused
from application.temporal_client import run_state
from db.reads.purchases import AssignedTrainer, BoughtRow, assigned_trainer, bought
from db.reads.shelf import active_purchase
from db.reads.starts import StartRow, starts_of
from db.request_keys import claim_key
from domain.outcomes import outcome_in
from domain.wanted_lessons import lesson_faults
from workflows.messages import Act, Amend

router = APIRouter(prefix="/api/v1/admin/allocations", tags=["admin"])


class AutoAssignBody(Body):
    """The student, the course and the time. `timeSlot` and `date` replace the purchase's own where they differ."""

    student_id: StudentId
    course_id: GivenId
    time_slot: str = Field(max_length=20)
    date: str = Field(max_length=10)
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"studentId": "student-1", "courseId": "course-piano", "timeSlot": "18:00", "date": "2026-12-01"}
            ]
        }
    )

    def wanted(self) -> dict[str, Any]:
        """Return the time as canonical metadata."""
        return {"startDate": self.date, "timeSlot": self.time_slot}


class AllocationData(Answer):
    """The trainer held for the purchase; null while the workflow is still looking."""

    id: str
    workflow_id: str
    allocation_id: str | None
    trainer_id: str | None
    status: str | None = Field(description="proposed or approved")


class AutoAssigned(Answer):
    """The answer in the older system's form: `{success, message, data}`."""

    success: bool
    message: str
    data: AllocationData
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "success": True,
                    "message": "Trainer assigned",
                    "data": {
                        "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
                        "workflowId": "purchase:pay-1:1",
                        "allocationId": "2f9c61a8-2b5f-5a0e-8f3a-7d1e5b8c9a10",
                        "trainerId": "trainer-1",
                        "status": "approved",
                    },
                }
            ]
        }
    )


@router.post(
    "/auto-assign",
    summary="Look again for a trainer for a student's course",
    responses={
        202: {"model": AutoAssigned, "description": "The workflow has it and is still looking."},
        **problems(NotFound, Conflict, Unprocessable, Unavailable),
    },
)
async def auto_assign(
    body: AutoAssignBody,
    services: ServicesDep,
    who: CallerDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> AutoAssigned:
    """Acts on the student's active purchase of the course while it waits for a trainer, and on nothing else.

    200 with the trainer, also if assigned before; 404 without an active purchase; 409 when it does not wait for a
    trainer, or still finds nobody: then it goes on looking by itself.
    """
    if faults := lesson_faults(body.wanted()):
        raise Unprocessable(code="METADATA_INCOMPLETE", detail="; ".join(faults)[:500])
    start, item, held = await _found(services, body)
    named = ("auto-assign", who.subject, bare(idempotency_key), body.model_dump())
    if held:
        await claim_key(services.engine, *named)
        return _answer(start, held, "Trainer already assigned")
    changes = {name: value for name, value in body.wanted().items() if item.metadata.get(name) != value}
    key = bare(idempotency_key) or f"auto-assign-{uuid4()}"
    signed = (who.subject, "auto-assign")
    # A key names one act: sent again, this finds its own time amended already, and looks again.
    verb, said = ("amend", Amend(*signed, f"{key}:amend", changes)) if changes else ("retry_now", Act(*signed, key))
    try:
        await _require_waiting(services, start)
        await claim_key(services.engine, *named)
        done, outcome = await perform(services, start, verb, said)
    except Conflict as no:  # another call, or the purchase by itself, may have been faster
        if no.code != "KEY_REUSED" and (held := await _held(services, start.purchase_id)):
            return _answer(start, held, "Trainer already assigned")
        raise
    if held := await _held(services, start.purchase_id):
        return _answer(start, held, "Trainer assigned")
    if not done:
        response.status_code = 202
        return _answer(start, None, "Auto-assignment is under way")
    code = outcome_in(str(outcome)).code or "WRONG_STAGE"
    raise Conflict(code=code, detail=f"No trainer was assigned: {outcome}.")


async def _found(services: Services, body: AutoAssignBody) -> tuple[StartRow, BoughtRow, AssignedTrainer | None]:
    async with services.reading() as conn:
        purchase_id = await active_purchase(conn, body.student_id, body.course_id, services.clock())
        item = await bought(conn, purchase_id) if purchase_id else None
        if purchase_id is None or item is None:
            raise NotFound(code="NO_ACTIVE_PURCHASE", detail="The student has no active purchase of this course.")
        start = (await starts_of(conn, [purchase_id]))[purchase_id]
        return start, item, _live(await assigned_trainer(conn, purchase_id))


async def _held(services: Services, purchase_id: str) -> AssignedTrainer | None:
    async with services.reading() as conn:
        return _live(await assigned_trainer(conn, purchase_id))


def _live(held: AssignedTrainer | None) -> AssignedTrainer | None:
    return held if held and held.status != "cancelled" else None


async def _require_waiting(services: Services, start: StartRow) -> None:
    await require_unpaused(services.temporal, start.workflow_id)
    run = await run_state(services.temporal, start.workflow_id)
    if run is None or not run.running:
        raise too_late(start)
    if run.stage != "assign_trainer" or run.attention is None:
        where = f"at {run.stage}" + (f", waiting ({run.attention.reason})" if run.attention else "")
        raise Conflict(code="WRONG_STAGE", detail=f"The purchase is {where}, not waiting for a trainer.")


def _answer(start: StartRow, held: AssignedTrainer | None, message: str) -> AutoAssigned:
    return AutoAssigned(
        success=True,
        message=message,
        data=AllocationData(
            id=start.purchase_id,
            workflow_id=start.workflow_id,
            allocation_id=held.allocation_id if held else None,
            trainer_id=held.trainer_id if held else None,
            status=held.status if held else None,
        ),
    )
