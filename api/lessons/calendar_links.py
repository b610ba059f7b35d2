"""Private links for calendar programs: these send no bearer token, so whoever has the link has the calendar."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import GivenInPath, StudentInPath
from api.http.json_models import Answer
from api.http.problems import problems
from api.lessons.lessons import CALENDAR_FEED, CalendarResponse, calendar_of_student, calendar_of_trainer
from application.caller import Caller
from application.context import Services
from application.errors import NotFound, Unavailable, Unprocessable
from db.calendar_links import Kind, Owner, is_known, keep_link, owner_of, remove_link

router = APIRouter(tags=["lessons"])
public = APIRouter(tags=["lessons"])

PATH = "/api/public/calendar.ics"
_BYTES = 32  # of chance in a link


class CalendarLink(Answer):
    """A link, shown once. `path` follows the API's address; who has it can read the calendar until it is removed."""

    path: str
    made_at: datetime
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"path": f"{PATH}?link=5aZ1kq0Jm3vXo2c7bQmY8rT4uW6eN9pLhG0dFsRxVtA", "madeAt": "2026-11-21T12:00:00Z"}
            ]
        }
    )


@router.post(
    "/api/v1/students/{student_id}/calendar-link",
    status_code=201,
    summary="Make the private link to a student's calendar",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def link_student_calendar(student_id: StudentInPath, services: ServicesDep, who: CallerDep) -> CalendarLink:
    """Each call makes a new link; the one before it stops working."""
    return await _make(services, who, _student(student_id, who))


@router.delete(
    "/api/v1/students/{student_id}/calendar-link",
    status_code=204,
    summary="Remove the private link to a student's calendar",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def unlink_student_calendar(student_id: StudentInPath, services: ServicesDep, who: CallerDep) -> None:
    """The link stops working; it is no error if there is none."""
    await _remove(services, _student(student_id, who))


@router.post(
    "/api/v1/admin/trainers/{trainer_id}/calendar-link",
    status_code=201,
    summary="Make the private link to a trainer's calendar",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def link_trainer_calendar(trainer_id: GivenInPath, services: ServicesDep, who: CallerDep) -> CalendarLink:
    """Each call makes a new link; the one before it stops working."""
    return await _make(services, who, Owner("trainer", trainer_id))


@router.delete(
    "/api/v1/admin/trainers/{trainer_id}/calendar-link",
    status_code=204,
    summary="Remove the private link to a trainer's calendar",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def unlink_trainer_calendar(trainer_id: GivenInPath, services: ServicesDep) -> None:
    """The link stops working; it is no error if there is none."""
    await _remove(services, Owner("trainer", trainer_id))


@public.get(
    PATH, summary="The calendar that a private link opens", response_class=CalendarResponse, responses=CALENDAR_FEED
)
async def linked_calendar(link: Annotated[str, Query(min_length=1, max_length=100)], services: ServicesDep) -> Response:
    """The same calendar as the student's or the trainer's own; 404 once the link was removed or replaced."""
    async with services.reading() as conn:
        owner = await owner_of(conn, link)
    if owner is None:
        detail = "This link opens nothing: it was removed, or another was made since."
        raise NotFound(code="CALENDAR_LINK_UNKNOWN", detail=detail)
    show = calendar_of_student if owner.kind == "student" else calendar_of_trainer
    answer = await show(services, owner.id)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _student(student_id: str, who: Caller) -> Owner:
    if who.own not in (None, student_id):
        raise _unknown("student")
    return Owner("student", student_id)


async def _make(services: Services, who: Caller, owner: Owner) -> CalendarLink:
    token, now = secrets.token_urlsafe(_BYTES), services.clock()
    async with services.engine.begin() as conn:
        if not await is_known(conn, owner):
            raise _unknown(owner.kind)
        await keep_link(conn, owner, token, who.subject, now)
    return CalendarLink(path=f"{PATH}?link={token}", made_at=now)


async def _remove(services: Services, owner: Owner) -> None:
    async with services.engine.begin() as conn:
        if not await is_known(conn, owner):
            raise _unknown(owner.kind)
        await remove_link(conn, owner)


def _unknown(kind: Kind) -> NotFound:
    return NotFound(code=f"{kind.upper()}_NOT_FOUND", detail=f"No {kind} has this id.")
