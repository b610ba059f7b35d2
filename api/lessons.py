"""The lessons of a purchase one by one, and the calendars that students and trainers subscribe to."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import APIRouter, Response
from fastapi_rfc9457.server import problems

from api.auth import CallerDep
from api.calendars import calendar_of
from api.found import found
from api.ids import PersonInPath, PurchaseInPath, purchase_id_from
from api.lesson_bodies import LessonsAnswer, LessonView
from api.problems import NotFound, Unavailable, Unprocessable
from api.services import ServicesDep
from api.views import wall
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
_FEED = {
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
async def list_lessons(purchase: PurchaseInPath, at: ServicesDep, who: CallerDep) -> LessonsAnswer:
    """In the order of their times, cancelled ones too; a lesson keeps its number when it is moved."""
    purchase_id = purchase_id_from(purchase)
    async with at.reading() as conn:
        await found(conn, purchase_id, who)
        rows = await lessons_one_by_one(conn, purchase_id)
        closed = {each.number: each.why for each in await stranded_lessons(conn, purchase_id, at.clock())}
    return LessonsAnswer(lessons=[_view(row, closed.get(row.number)) for row in rows])


@router.get(
    "/students/{student_id}/lessons.ics",
    summary="A student's lessons as a calendar",
    response_class=CalendarResponse,
    responses=_FEED,
)
async def student_calendar(student_id: PersonInPath, at: ServicesDep, who: CallerDep) -> Response:
    """From 90 days back on. An entry keeps its UID when its lesson is moved, and stays, cancelled, when that is."""
    async with at.reading() as conn:
        rows = await lessons_of_student(conn, student_id, _since(at.clock()), who.own)
    if rows is None:
        raise NotFound(code="STUDENT_NOT_FOUND", detail="No student has this id.")
    return CalendarResponse(calendar_of(rows, with_whom=lambda row: row.trainer_name))


@router.get(
    "/admin/trainers/{trainer_id}/lessons.ics",
    summary="A trainer's lessons as a calendar",
    response_class=CalendarResponse,
    responses=_FEED,
)
async def trainer_calendar(trainer_id: PersonInPath, at: ServicesDep) -> Response:
    """From 90 days back on; a lesson that another trainer gives now stays as a cancelled entry."""
    async with at.reading() as conn:
        rows = await lessons_of_trainer(conn, trainer_id, _since(at.clock()))
    if rows is None:
        raise NotFound(code="TRAINER_NOT_FOUND", detail="No trainer has this id.")
    return CalendarResponse(calendar_of(rows, with_whom=lambda row: row.student_id))


def _since(now: datetime) -> datetime:
    return now - KEPT


def _view(row: LessonRow, closed: str | None) -> LessonView:
    return LessonView(
        number=row.number,
        local=wall(row.local_start) or "",
        timezone=row.zone,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        minutes=round((row.ends_at - row.starts_at).total_seconds() / 60),
        trainer_id=row.trainer_id,
        status=row.status,  # pyright: ignore[reportArgumentType] -- a CHECK holds it
        clock=row.clock,  # pyright: ignore[reportArgumentType] -- a CHECK holds it
        asked_local=wall(row.asked_start),
        changes=row.revision,
        closed=closed,
    )
