"""The lessons of a purchase one by one, and the calendars that students and trainers subscribe to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import GivenInPath, PurchaseInPath, StudentInPath, purchase_id_from
from api.http.json_models import wall
from api.http.problems import problems
from api.lessons.bodies import LessonsAnswer, LessonView, StudentLessonsAnswer, StudentLessonView
from api.lessons.calendars import calendar_of
from application.context import Services
from application.errors import NotFound, Unavailable, Unprocessable
from application.find_purchase import found
from db.reads.lessons import (
    LessonRow,
    lessons_of_student,
    lessons_of_trainer,
    lessons_one_by_one,
    stranded_lessons,
)

router = APIRouter(prefix="/api/v1", tags=["lessons"])

KEPT = timedelta(days=90)  # how long a lesson that is over stays in a calendar
CALENDAR = "text/calendar"
CALENDAR_FEED = {
    200: {
        "content": {CALENDAR: {"schema": {"type": "string"}, "example": "BEGIN:VCALENDAR"}},
        "description": "iCalendar",
    },
    **problems(NotFound, Unprocessable, Unavailable),
}


class CalendarResponse(Response):
    """An iCalendar document."""

    media_type = CALENDAR


@router.get(
    "/purchases/{purchase}/lessons",
    summary="The lessons of a purchase, one by one",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def list_lessons(
    purchase: PurchaseInPath, services: ServicesDep, who: CallerDep
) -> LessonsAnswer | StudentLessonsAnswer:
    """Lists lessons in time order, cancelled ones too; a moved lesson keeps its number.

    Students get the trainer's name, not the id.
    """
    purchase_id = purchase_id_from(purchase)
    async with services.reading() as conn:
        await found(conn, purchase_id, who)
        rows = await lessons_one_by_one(conn, purchase_id)
        closed = {each.number: each.why for each in await stranded_lessons(conn, purchase_id, services.clock())}
    if who.own is not None:
        theirs = [
            StudentLessonView(**_shared(row), trainer=row.trainer_name, closed=row.number in closed) for row in rows
        ]
        return StudentLessonsAnswer(lessons=theirs)
    return LessonsAnswer(
        lessons=[LessonView(**_shared(row), trainer_id=row.trainer_id, closed=closed.get(row.number)) for row in rows]
    )


@router.get(
    "/students/{student_id}/lessons.ics",
    summary="A student's lessons as a calendar",
    response_class=CalendarResponse,
    responses=CALENDAR_FEED,
)
async def student_calendar(student_id: StudentInPath, services: ServicesDep, who: CallerDep) -> Response:
    """Lessons of the last 90 days and to come. A moved lesson keeps its UID, a cancelled one stays as cancelled."""
    return await calendar_of_student(services, student_id, who.own)


@router.get(
    "/admin/trainers/{trainer_id}/lessons.ics",
    summary="A trainer's lessons as a calendar",
    response_class=CalendarResponse,
    responses=CALENDAR_FEED,
)
async def trainer_calendar(trainer_id: GivenInPath, services: ServicesDep) -> Response:
    """Lessons of the last 90 days and to come. One that another trainer gives now stays as cancelled."""
    return await calendar_of_trainer(services, trainer_id)


async def calendar_of_student(services: Services, student_id: str, own: str | None = None) -> Response:
    """Return a student's calendar. `own`: the only student whose calendar may be read. Raises NotFound."""
    async with services.reading() as conn:
        rows = await lessons_of_student(conn, student_id, _since(services.clock()), own)
    if rows is None:
        raise NotFound(code="STUDENT_NOT_FOUND", detail="No student has this id.")
    return await _calendar(rows, with_whom=lambda row: row.trainer_name)


async def calendar_of_trainer(services: Services, trainer_id: str) -> Response:
    """Return a trainer's calendar. Raises NotFound."""
    async with services.reading() as conn:
        rows = await lessons_of_trainer(conn, trainer_id, _since(services.clock()))
    if rows is None:
        raise NotFound(code="TRAINER_NOT_FOUND", detail="No trainer has this id.")
    return await _calendar(rows, with_whom=lambda row: row.student_id)


async def _calendar(rows: list[LessonRow], with_whom: Callable[[LessonRow], str]) -> Response:
    """Write the calendar in a thread, so that others are answered meanwhile."""
    return CalendarResponse(await asyncio.to_thread(calendar_of, rows, with_whom))


def _since(now: datetime) -> datetime:
    return now - KEPT


def _shared(row: LessonRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "local": wall(row.local_start) or "",
        "timezone": row.zone,
        "starts_at": row.starts_at,
        "ends_at": row.ends_at,
        "minutes": round((row.ends_at - row.starts_at).total_seconds() / 60),
        "status": row.status,
        "clock": row.clock,
        "asked_local": wall(row.asked_start),
        "changes": row.revision,
    }
