"""Plan the lessons of a purchase, and describe them in its allocation's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

from db.effects.candidates import LessonRequest
from domain.matching import Place, TrainerFacts, place_of, rank
from domain.refusals import Refused
from domain.schedule import Lesson, first_day, plan_lessons, start_warning
from domain.wanted_lessons import WantedLessons, wanted_lessons


@dataclass(frozen=True)
class Plan:
    """The planned lessons. `warning` is why they do not start on the day asked for, if they do not."""

    wanted: WantedLessons
    zone: str
    first: date
    warning: str | None
    lessons: list[Lesson]


def plan_of(request: LessonRequest, now: datetime) -> tuple[Place, Plan]:
    """Return the student's place and the plan; a stored series start is kept unless lesson 1 is past (section 10)."""
    if request.purchase_id is None:
        raise LookupError("there is no purchase row to plan lessons for")
    if request.zone is None:
        raise Refused("STUDENT_PROFILE_MISSING", "the student has no profile")
    home = place_of(request.latitude, request.longitude)
    wanted, zone, count = wanted_lessons(request.fields), request.zone, request.session_count
    if request.series_start is not None:
        lessons = plan_lessons(wanted, count, zone, request.series_start, request.holidays)
        if lessons[0].starts_at > now:
            return home, Plan(wanted, zone, request.series_start, None, lessons)
    first, moved = first_day(wanted, zone, now, request.holidays)
    lessons = plan_lessons(wanted, count, zone, first, request.holidays)
    return home, Plan(wanted, zone, first, start_warning(wanted, first, moved), lessons)


def not_free(trainer: TrainerFacts, lessons: Sequence[Lesson], home: Place) -> str | None:
    """Return why the trainer cannot give all these lessons, place and group size aside; None when free."""
    return rank([trainer], lessons, home=home, learning_mode="online", group_size=1).lost.get(trainer.id)


def allocation_metadata(request: LessonRequest, plan: Plan) -> dict[str, Any]:
    """Return the keys of mission row 78; `date` is the day of lesson 1, `preferredDate` the day asked for.

    For a plan that keeps an earlier lesson 1, `date` is the day its series starts.
    """
    given: dict[str, Any] = {**request.extras, **request.fields}
    opens = next((lesson.local.date() for lesson in plan.lessons if lesson.number == 1), plan.first)
    slot, day = given["timeSlot"], opens.isoformat()
    schedule = cast("dict[str, Any]", given["schedule"]) if isinstance(given.get("schedule"), dict) else {}
    return {
        **given,
        "sessionCount": request.session_count,
        "sessionCountSource": request.session_count_source,
        "timeSlot": slot,
        "date": day,
        "schedule": {**schedule, "timeSlot": slot, "date": day},
        "preferredTimeSlot": given.get("preferredTimeSlot") or slot,
        "preferredDate": given.get("preferredDate") or given["startDate"],
    }
