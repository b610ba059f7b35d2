"""`/api/v1/checkout/holds`: keep a trainer's times for some minutes while the student pays (mission row C14).

A hold is of one cart item, planned and matched by the rules of the steps; the purchase with the same lessons takes it
over. A student has one live hold per course and three in all, so that nobody blocks the market.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from api.checkout.choose_and_hold import HoldRequest, hold_for
from api.checkout.preflight import asked_of, plan_of
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import GivenInPath
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.ids import GivenId
from application.temporal_client import RPC_TIMEOUT, answering
from application.wake_parked import WakeFilter, wake_later
from db.reads.cart import cart_of
from db.reads.preflight import student_facts
from db.slot_holds import (
    MAX_HOLDS,
    MAX_HOLDS_A_DAY,
    HeldTooOften,
    LiveHold,
    TooManyHolds,
    end_own,
    let_go,
    live_holds,
)
from domain.ids import hold_workflow_id_of
from domain.matching import place_of
from domain.refusals import REFUSALS, Refused
from workflows.slot_hold import HoldInput, SlotHoldWorkflow

router = APIRouter(prefix="/api/v1/checkout/holds", tags=["shop"])

MAX_LESSONS = 100  # of one hold
_HOLD: dict[str, Any] = {
    "id": "2f9c61a8-2b5f-5a0e-8f3a-7d1e5b8c9a10",
    "courseId": "course-piano",
    "trainer": "Ada Piano",
    "expiresAt": "2026-11-21T12:10:00Z",
    "lessons": 10,
    "firstLocal": "2026-12-01T18:00",
    "lastLocal": "2026-12-10T18:00",
    "timezone": "Europe/London",
}


class HoldBody(Body):
    """The item in the caller's cart whose times to hold."""

    cart_item_id: GivenId
    model_config = ConfigDict(json_schema_extra={"examples": [{"cartItemId": "cart-1"}]})


class HoldView(Answer):
    """A trainer's times, kept until `expiresAt`; wall times in `timezone`."""

    id: str
    course_id: str
    trainer: str = Field(description="the trainer's name")
    expires_at: datetime
    lessons: int
    first_local: str
    last_local: str
    timezone: str
    model_config = ConfigDict(json_schema_extra={"examples": [_HOLD]})


class HoldList(Answer):
    """The caller's live holds, oldest first."""

    holds: list[HoldView] = Field(max_length=MAX_HOLDS)
    model_config = ConfigDict(json_schema_extra={"examples": [{"holds": [_HOLD]}]})


@router.post(
    "",
    status_code=201,
    summary="Keep a trainer's times while paying",
    responses=problems(NotFound, Conflict, Unprocessable, Unavailable),
)
async def hold_times(body: HoldBody, services: ServicesDep, who: CallerDep, response: Response) -> HoldView:
    """Holds all lessons of one cart item, with the trainer who would be chosen now.

    The caller's hold of the same course is replaced. A hold ends by itself after `SLOT_HOLD`; a purchase of the same
    lessons takes it over.
    """
    try:
        wish = await _hold_request(services, who.subject, body.cart_item_id)
        held = await hold_for(services, wish)
    except Refused as refused:
        row = REFUSALS[refused.code]
        said = f"{row.student} {refused.message[:500]}." if refused.code == "METADATA_INCOMPLETE" else row.student
        raise Conflict(code=refused.code, detail=said, retryable=row.heals) from refused
    except HeldTooOften as often:
        raise Conflict(
            code="HELD_TOO_OFTEN",
            detail=f"The times of a course are held {MAX_HOLDS_A_DAY} times a day at most. Pay for it, or come back tomorrow.",
        ) from often
    except TooManyHolds as full:
        raise Conflict(code="TOO_MANY_HOLDS", detail=f"{MAX_HOLDS} courses are held already: let one go.") from full
    await _start_timer(services, held)
    response.headers["Location"] = f"{router.prefix}/{held.id}"
    return _view(held)


@router.get("", summary="The caller's live holds", responses=problems(Unprocessable, Unavailable))
async def list_holds(services: ServicesDep, who: CallerDep) -> HoldList:
    """Expired holds are not listed."""
    async with services.reading() as conn:
        return HoldList(holds=[_view(hold) for hold in await live_holds(conn, who.subject, services.clock())])


@router.delete(
    "/{hold_id}",
    status_code=204,
    summary="Let the times go",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def let_times_go(hold_id: GivenInPath, services: ServicesDep, who: CallerDep) -> None:
    """Frees the times at once; purchases that wait for a trainer are tried again. Another student's hold is 404."""
    async with services.engine.begin() as conn:
        ended = await end_own(conn, hold_id, who.subject, services.clock())
    if not ended:
        raise NotFound(code="HOLD_NOT_FOUND", detail="You have no live hold of this id.")
    wake_later(services, WakeFilter(("NO_TRAINER_AVAILABLE",), f"hold {hold_id} was let go"))


async def _hold_request(services: Services, student_id: str, cart_item_id: str) -> HoldRequest:
    async with services.reading() as conn:
        cart = await cart_of(conn, student_id)
        facts = await student_facts(conn, student_id)
    thing = next((each for each in cart if each.id == cart_item_id), None)
    if thing is None:
        raise NotFound(code="CART_ITEM_NOT_FOUND", detail="Nothing in your cart has this id.")
    if thing.fulfilment is None or not thing.open:
        raise Refused("COURSE_UNAVAILABLE", f"{thing.item_type} {thing.item_id} cannot be bought now")
    if thing.fulfilment != "sessions":
        raise Conflict(code="NOTHING_TO_HOLD", detail="This item has no lessons, so there are no times to hold.")
    asked = asked_of(thing)
    if asked.count > MAX_LESSONS:
        detail = f"The times of {MAX_LESSONS} lessons at most are held. Pay without: a trainer is found then."
        raise Conflict(code="TOO_MANY_LESSONS_TO_HOLD", detail=detail)
    lessons = await plan_of(asked, facts, services.clock())
    return HoldRequest(
        student_id, thing.item_id, asked, lessons, facts.timezone or "", place_of(facts.latitude, facts.longitude)
    )


async def _start_timer(services: Services, held: LiveHold) -> None:
    """Start the hold's timer. If Temporal does not answer, end the hold and raise Unavailable (503)."""
    try:
        async with answering("start"):
            await services.temporal.start_workflow(
                SlotHoldWorkflow.run,
                HoldInput(held.id, services.slot_hold.total_seconds(), services.rules),
                id=hold_workflow_id_of(held.id),
                task_queue=services.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=RPC_TIMEOUT,
                static_summary=f"times of a trainer held for {held.course_id}",
            )
    except Unavailable:
        async with services.engine.begin() as conn:
            await let_go(conn, [held.id], services.clock())
        raise


def _view(hold: LiveHold) -> HoldView:
    return HoldView(
        id=hold.id,
        course_id=hold.course_id,
        trainer=hold.trainer_name,
        expires_at=hold.expires_at,
        lessons=hold.lessons,
        first_local=f"{hold.first_local:%Y-%m-%dT%H:%M}",
        last_local=f"{hold.last_local:%Y-%m-%dT%H:%M}",
        timezone=hold.zone,
    )
