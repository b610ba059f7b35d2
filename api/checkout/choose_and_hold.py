"""Choose a trainer by the rules of the steps, and hold that trainer's times in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from api.checkout.preflight import PlannedItem
from api.checkout.trainer_search import TrainerSearch
from application.context import Services
from db.slot_holds import (
    LiveHold,
    TakenMeanwhile,
    ToHold,
    hold_slots,
    let_go,
    live_holds,
    lock_student,
    require_not_too_often,
)
from domain.matching import Place
from domain.refusals import Refused
from domain.schedule import Lesson

_MAX_RACES = 20  # after so many lost races something is wrong


@dataclass(frozen=True)
class HoldRequest:
    """Which lessons to hold, and for whom."""

    student_id: str
    course_id: str
    asked: PlannedItem
    lessons: list[Lesson]
    zone: str
    home: Place


async def hold_for(services: Services, request: HoldRequest) -> LiveHold:
    """Hold the trainer who would be chosen now, and return the hold; after a lost race, choose again.

    Raises TooManyHolds, HeldTooOften, and what the step would refuse with.
    """
    taken: set[str] = set()
    for _ in range(_MAX_RACES):
        try:
            async with services.engine.begin() as conn:
                return await _hold_best(services, conn, request, taken)
        except TakenMeanwhile as lost:
            taken.add(lost.trainer_id)
    raise RuntimeError(f"lost {_MAX_RACES} races for a trainer")


async def _hold_best(services: Services, conn: AsyncConnection, request: HoldRequest, taken: set[str]) -> LiveHold:
    """Choose and hold in one transaction; the student is locked, so that their holds and purchases take turns."""
    await lock_student(conn, request.student_id)
    await require_not_too_often(conn, request.student_id, request.course_id, services.clock())
    now, wanted = services.clock(), request.asked.wanted
    search = TrainerSearch(request.student_id, request.course_id, request.lessons, wanted, request.home)
    ahead = await search.look(conn, now)
    if ahead.conflict is not None:
        raise Refused("SCHEDULE_CONFLICT", f"lesson {ahead.conflict} overlaps another one of the student's")
    if any(hold.meets and hold.course_id != request.course_id for hold in ahead.holds.own):
        raise Refused("SCHEDULE_CONFLICT", "another hold of the student's is of one of these times")
    choice = await search.choose(conn, ahead, now, taken)
    mine = ahead.holds.of(request.course_id)
    if mine or ahead.holds.expired:
        await let_go(conn, [mine.id] if mine else [], now)
    hold = ToHold(
        str(uuid4()), request.student_id, request.course_id, choice.trainer.id, choice.trainer.last_assigned_at, request.lessons,
        request.zone, choice.won, choice.lost, now + services.slot_hold,
    )  # fmt: skip
    await hold_slots(conn, hold, now)
    return next(live for live in await live_holds(conn, request.student_id, now) if live.id == hold.id)
