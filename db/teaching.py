"""Who teaches a course, and who is busy when: the SQL that planning a purchase and looking ahead of one share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString

from domain.matching import Place, TrainerFacts, Window, place_of
from domain.refusals import Refused
from domain.schedule import Lesson

# `times`: one look into the index per trainer instead of one per lesson.
PLAN: LiteralString = """
plan AS MATERIALIZED (
  SELECT number, tstzrange(starts_at, ends_at, '[)') AS during
  FROM unnest(CAST(:numbers AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    AS lesson (number, starts_at, ends_at)
), times AS MATERIALIZED (
  SELECT range_agg(during) AS during FROM plan
)"""

# What a slot is held with, from the arrays of `slots`.
LESSONS: LiteralString = """
unnest(CAST(:numbers AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]),
       CAST(:locals AS timestamp[]), CAST(:clocks AS text[]), CAST(:asked AS timestamp[]))
  AS lesson (number, starts_at, ends_at, local_start, clock, asked_start)"""

# The first lesson at which the student is busy, NULL when free for all of them.
CONFLICT: LiteralString = """
  SELECT min(plan.number) AS conflict FROM plan JOIN trainer_slots AS slot
    ON slot.student_id = :student_id AND slot.during && plan.during AND slot.status <> 'cancelled'"""

TRAINERS: LiteralString = """
  SELECT trainers.id, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at,
    hours.weekdays, hours.starts, hours.ends,
    ARRAY(SELECT day FROM trainer_blocked_days AS blocked
          WHERE blocked.trainer_id = trainers.id AND day BETWEEN :first AND :last) AS blocked,
    EXISTS (SELECT FROM trainer_slots AS slot WHERE slot.trainer_id = trainers.id AND slot.status <> 'cancelled'
            AND slot.during && (SELECT during FROM times)) AS busy,
    (SELECT count(*) FROM trainer_slots AS slot WHERE slot.trainer_id = trainers.id AND slot.status <> 'cancelled'
     AND slot.during && tstzrange(:now, NULL) AND lower(slot.during) > :now) AS load
  FROM trainer_courses AS course JOIN trainers ON trainers.id = course.trainer_id
  LEFT JOIN LATERAL (
    SELECT array_agg(weekday) AS weekdays, array_agg(starts) AS starts, array_agg(ends) AS ends
    FROM trainer_availability AS hour WHERE hour.trainer_id = trainers.id
  ) AS hours ON true
  WHERE course.course_id = :course_id"""


def times_of(lessons: Sequence[Lesson], now: datetime) -> dict[str, object]:
    """The parameters of PLAN and TRAINERS that a plan says; blocked days are read two days around it, for the zones."""
    days = [lesson.local.date() for lesson in lessons]
    around = timedelta(days=2)
    return {**arrays(lessons), "now": now, "first": min(days) - around, "last": max(days) + around}


def arrays(lessons: Sequence[Lesson]) -> dict[str, object]:
    """A plan as arrays, for unnest: one parameter each, however many lessons."""
    return {
        "numbers": [lesson.number for lesson in lessons],
        "starts": [lesson.starts_at for lesson in lessons],
        "ends": [lesson.ends_at for lesson in lessons],
    }


def slots(lessons: Sequence[Lesson]) -> dict[str, object]:
    """A plan as arrays, with all that a held slot says of its lesson."""
    return {
        **arrays(lessons),
        "locals": [lesson.local for lesson in lessons],
        "clocks": [lesson.clock for lesson in lessons],
        "asked": [lesson.asked_local for lesson in lessons],
    }


def trainer_facts(row: Any) -> TrainerFacts:
    """A row of TRAINERS."""
    hours = zip(row.weekdays or (), row.starts or (), row.ends or (), strict=True)
    return TrainerFacts(
        id=row.id, zone=row.timezone, place=_place(row.latitude, row.longitude), radius_km=row.radius_km,
        windows=tuple(Window(*hour) for hour in hours), blocked_days=frozenset(row.blocked),
        max_group_size=row.max_group_size, busy=row.busy, load=row.load, last_assigned_at=row.last_assigned_at,
    )  # fmt: skip


def _place(latitude: float | None, longitude: float | None) -> Place | None:
    try:
        return place_of(latitude, longitude)
    except Refused:
        return None
