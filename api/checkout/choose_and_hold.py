"""The trainer who would be chosen now, by the rules of the steps, and that trainer's times held in the same transaction."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from api.checkout.preflight import Asked
from application.context import Services
from db.reads.preflight import who_could_teach
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
from domain.matching_explanation import choose
from domain.refusals import Refused
from domain.schedule import Lesson

_LOOKS = 20  # after so many lost races something is wrong


@dataclass(frozen=True)
class Wish:
    """What is to be held, for whom."""

    student_id: str
    course_id: str
    asked: Asked
    lessons: list[Lesson]
    zone: str
    home: Place


async def hold_for(services: Services, wish: Wish) -> LiveHold:
    """Holds the trainer who would be chosen now; who loses a race looks again. Raises TooManyHolds, and what the step
    would refuse with."""
    taken: set[str] = set()
    for _ in range(_LOOKS):
        try:
            async with services.engine.begin() as conn:
                return await _hold_best(services, conn, wish, taken)
        except TakenMeanwhile as lost:
            taken.add(lost.trainer_id)
    raise RuntimeError(f"lost {_LOOKS} races for a trainer")


async def _hold_best(services: Services, conn: AsyncConnection, wish: Wish, taken: set[str]) -> LiveHold:
    """In one transaction: the student is locked, so that holds and purchases of one student take turns."""
    await lock_student(conn, wish.student_id)
    await require_not_too_often(conn, wish.student_id, wish.course_id, services.clock())
    now, wanted = services.clock(), wish.asked.wanted
    near = wish.home if wanted.learning_mode == "home" else None
    ahead = await who_could_teach(conn, wish.student_id, wish.course_id, wish.lessons, now, near)
    if ahead.conflict is not None:
        raise Refused("SCHEDULE_CONFLICT", f"lesson {ahead.conflict} overlaps another one of the student's")
    if any(hold.meets and hold.course_id != wish.course_id for hold in ahead.holds.own):
        raise Refused("SCHEDULE_CONFLICT", "another hold of the student's is of one of these times")
    choice = await asyncio.to_thread(
        choose, wish.course_id, ahead.trainers, wish.lessons, home=wish.home, wanted=wanted, taken=taken
    )
    mine = ahead.holds.of(wish.course_id)
    if mine or ahead.holds.expired:
        await let_go(conn, [mine.id] if mine else [], now)
    hold = ToHold(
        str(uuid4()), wish.student_id, wish.course_id, choice.trainer.id, choice.trainer.last_assigned_at, wish.lessons,
        wish.zone, choice.won, choice.lost, now + services.slot_hold,
    )  # fmt: skip
    await hold_slots(conn, hold, now)
    return next(live for live in await live_holds(conn, wish.student_id, now) if live.id == hold.id)
