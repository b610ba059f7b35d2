"""SQL for who teaches a course and who is busy when, shared by planning a purchase and by looking ahead of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import LiteralString

from domain.matching import Place, TrainerFacts, Window, place_of
from domain.refusals import Refused
from domain.schedule import Lesson

# `times`: all lessons as one value, so that a slot is compared once and not with each lesson. `gone`: holds whose slots
# count as free: those that have expired, whether or not their timer has fired, and the student's own, as they give way.
PLAN: LiteralString = """
plan AS MATERIALIZED (
  SELECT number, tstzrange(starts_at, ends_at, '[)') AS during
  FROM unnest(CAST(:numbers AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    AS lesson (number, starts_at, ends_at)
), times AS MATERIALIZED (
  SELECT range_agg(during) AS during FROM plan
), gone AS MATERIALIZED (
  SELECT id FROM allocations
  WHERE status = 'on_hold' AND (student_id = :student_id OR hold_expires_at <= :now)
)"""

# What a slot is held with, from the arrays of `slots`.
LESSONS: LiteralString = """
unnest(CAST(:numbers AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]),
       CAST(:locals AS timestamp[]), CAST(:clocks AS text[]), CAST(:asked AS timestamp[]))
  AS lesson (number, starts_at, ends_at, local_start, clock, asked_start)"""

# The first lesson at which the student is busy, NULL when free for all of them.
CONFLICT: LiteralString = """
  SELECT min(plan.number) AS conflict FROM plan JOIN trainer_slots AS slot
    ON slot.student_id = :student_id AND slot.during && plan.during AND slot.status <> 'cancelled'
   AND slot.allocation_id <> ALL(ARRAY(SELECT id FROM gone))"""

# One question: the trainers of the course, and of each that is in reach their hours, blocked days and, by one look into
# the
# index that keeps them free of overlaps, their slots. What `gone` holds is counted apart and taken off, so that index
# alone is read.
# The slots of a trainer too far away for a home lesson are not looked at: the distance alone decides there. It is that
# on
# a sphere, as in domain.matching.kilometres, with 2% and a metre to spare where that one is wrong by 1% at most.
# Nothing in
# it is out of range, whatever place and radius are stored: `1e-200 ^ 2` or `1e308 * 2` would be an error for everybody.
TRAINERS: LiteralString = """
  WITH known AS MATERIALIZED (
    SELECT trainers.id, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at,
      CAST(:north AS float8) IS NULL OR latitude IS NULL OR longitude IS NULL
        OR 2 * 6371.0088 * asin(least(1, sqrt(greatest(0,
             sind(greatest(abs(latitude - :north), 1e-9) / 2) ^ 2
             + cosd(latitude) * cosd(:north) * sind(greatest(abs(longitude - :east), 1e-9) / 2) ^ 2
           )))) / 1.02 - 0.001 <= radius_km AS in_reach
    FROM trainer_courses AS course JOIN trainers ON trainers.id = course.trainer_id
    WHERE course.course_id = :course_id
  ), hours AS (
    SELECT known.id AS trainer_id, hours FROM known CROSS JOIN LATERAL (
      SELECT string_agg(weekday || ' ' || starts || ' ' || ends, ',') AS hours
      FROM trainer_availability WHERE trainer_id = known.id
    ) AS told WHERE in_reach
  ), blocked AS (
    SELECT trainer_id, array_agg(day) AS blocked
    FROM trainer_blocked_days
    WHERE day BETWEEN :first AND :last AND trainer_id IN (SELECT id FROM known WHERE in_reach) GROUP BY trainer_id
  ), taken AS (
    SELECT known.id AS trainer_id, slots.meet, slots.load FROM known CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE during && (SELECT during FROM times)) AS meet,
        count(*) FILTER (WHERE lower(during) > :now) AS load
      FROM trainer_slots
      WHERE trainer_id = known.id AND status <> 'cancelled'
        AND during && tstzrange(least(CAST(:now AS timestamptz), CAST(:opens AS timestamptz)), NULL)
    ) AS slots WHERE in_reach
  ), freed AS (
    SELECT trainer_id, count(*) FILTER (WHERE during && (SELECT during FROM times)) AS meet,
      count(*) FILTER (WHERE lower(during) > :now) AS load
    FROM trainer_slots WHERE status <> 'cancelled' AND allocation_id IN (SELECT id FROM gone)
    GROUP BY trainer_id
  )
  SELECT known.id, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at, hours, blocked,
    coalesce(taken.meet, 0) > coalesce(freed.meet, 0) AS busy, coalesce(taken.load, 0) - coalesce(freed.load, 0) AS load
  FROM known
  LEFT JOIN hours ON hours.trainer_id = known.id
  LEFT JOIN blocked ON blocked.trainer_id = known.id
  LEFT JOIN taken ON taken.trainer_id = known.id
  LEFT JOIN freed ON freed.trainer_id = known.id AND known.in_reach"""


# All slots of an `allocation (id, trainer_id)` that the same statement makes; the constraints decide whether they can
# be.
SLOTS: LiteralString = f"""
slots AS (
  INSERT INTO trainer_slots
    (allocation_id, number, trainer_id, student_id, during, local_start, zone, clock, asked_start, status)
  SELECT allocation.id, number, trainer_id, :student_id, tstzrange(starts_at, ends_at, '[)'), local_start, :zone,
         clock, asked_start, 'held'
  FROM allocation, {LESSONS}
  RETURNING number
)"""  # noqa: S608 - a literal of our own


def times_of(lessons: Sequence[Lesson], now: datetime, home: Place | None = None) -> dict[str, object]:
    """Return the parameters of PLAN, CONFLICT, TRAINERS that a plan gives. `home`: where home lessons are to be."""
    days = [lesson.local.date() for lesson in lessons]
    around = timedelta(days=2)  # blocked days are read two days around the plan, for the zones
    return {
        **arrays(lessons), "now": now, "first": min(days) - around, "last": max(days) + around,
        "opens": min(lesson.starts_at for lesson in lessons),
        "north": home.latitude if home else None, "east": home.longitude if home else None,
    }  # fmt: skip


def arrays(lessons: Sequence[Lesson]) -> dict[str, object]:
    """Return a plan as arrays, for unnest: one parameter each, however many lessons."""
    return {
        "numbers": [lesson.number for lesson in lessons],
        "starts": [lesson.starts_at for lesson in lessons],
        "ends": [lesson.ends_at for lesson in lessons],
    }


def slots(lessons: Sequence[Lesson]) -> dict[str, object]:
    """Return a plan as arrays, with all that a held slot stores of its lesson."""
    return {
        **arrays(lessons),
        "locals": [lesson.local for lesson in lessons],
        "clocks": [lesson.clock for lesson in lessons],
        "asked": [lesson.asked_local for lesson in lessons],
    }


@dataclass(frozen=True)
class TrainerRow:
    """A row of TRAINERS, or of a LEFT JOIN of it: then `id` and all else is None when nobody teaches the course."""

    id: str | None
    timezone: str
    latitude: float | None
    longitude: float | None
    radius_km: float
    max_group_size: int | None
    last_assigned_at: datetime | None
    hours: str | None
    blocked: list[date] | None
    busy: bool
    load: int


def trainers_of(rows: Iterable[TrainerRow]) -> tuple[TrainerFacts, ...]:
    """Return the trainers of these rows, without a row whose `id` is None."""
    return tuple(
        TrainerFacts(
            id=row.id, zone=row.timezone, place=_place(row.latitude, row.longitude), radius_km=row.radius_km,
            windows=_windows(row.hours or ""), blocked_days=frozenset(row.blocked or ()),
            max_group_size=row.max_group_size, busy=row.busy, load=row.load, last_assigned_at=row.last_assigned_at,
        )
        for row in rows
        if row.id is not None
    )  # fmt: skip


@lru_cache(maxsize=4096)  # most trainers keep hours that others keep too
def _windows(hours: str) -> tuple[Window, ...]:
    told = (each.split(" ") for each in hours.split(",") if each)
    return tuple(Window(int(day), time.fromisoformat(start), time.fromisoformat(end)) for day, start, end in told)


def _place(latitude: float | None, longitude: float | None) -> Place | None:
    try:
        return place_of(latitude, longitude)
    except Refused:
        return None
