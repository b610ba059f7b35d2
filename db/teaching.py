"""SQL for who teaches a course and who is busy when, shared by planning a purchase and by looking ahead of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import LiteralString

from domain.matching import Place, TrainerFacts, Window, place_of
from domain.refusals import Refused
from domain.schedule import Lesson

FIRST_ROUND = 200  # trainers looked at before others are

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

# How many teach the course; whether some have begun a lesson since their loads were counted.
COURSE: LiteralString = """
  SELECT (SELECT count(*) FROM trainer_courses WHERE course_id = :course_id) AS teaching,
    EXISTS (SELECT FROM trainers WHERE load_until <= :now) AS begun"""

# One question: those `:named`, and of all others but those `:seen` the first `:most`; those who can come and take the
# group first, then by load, last assignment and id, the order of domain.matching.rank. With the hours, blocked days and
# slots of these alone.
#
# The order is read from the index of kept loads. `off` are those whose kept load is not what they hold in future, for a
# lesson has begun since, or another student's slot hold comes on top (its slots are its allocation's trainer's, until it
# is paid for): these few are counted and put in between.
#
# The distance is that on a sphere, as in domain.matching.kilometres, with 2% and a metre to spare where that one is
# wrong by 1% at most; who is too far by it is not looked at further. Nothing in it is out of range, whatever place and
# radius are stored: `1e-200 ^ 2` or `1e308 * 2` would be an error for everybody.
TRAINERS: LiteralString = """
  WITH known AS NOT MATERIALIZED (
    SELECT trainers.*, (max_group_size IS NULL OR max_group_size >= :group_size)
      AND (CAST(:north AS float8) IS NULL OR latitude IS NULL OR longitude IS NULL
        OR 2 * 6371.0088 * asin(least(1, sqrt(greatest(0,
             sind(greatest(abs(latitude - :north), 1e-9) / 2) ^ 2
             + cosd(latitude) * cosd(:north) * sind(greatest(abs(longitude - :east), 1e-9) / 2) ^ 2
           )))) / 1.02 - 0.001 <= radius_km) AS able
    FROM trainers
    WHERE EXISTS (SELECT FROM trainer_courses WHERE trainer_id = trainers.id AND course_id = :course_id)
      AND id <> ALL(CAST(:seen AS text[]))
  ), off AS MATERIALIZED (
    SELECT id FROM trainers WHERE load_until <= :now
    UNION SELECT id FROM trainers WHERE load_since > :now
    UNION SELECT trainer_id FROM allocations
      WHERE status = 'on_hold' AND hold_expires_at > :now AND student_id <> :student_id
  ), counted AS MATERIALIZED (
    SELECT known.id, able, last_assigned_at, (
      SELECT count(*) FROM trainer_slots AS slot
      WHERE slot.trainer_id = known.id AND slot.status <> 'cancelled' AND slot.during && tstzrange(CAST(:now AS timestamptz), NULL)
        AND lower(slot.during) > :now AND slot.allocation_id NOT IN (SELECT id FROM gone)
    ) AS load
    FROM known WHERE id IN (SELECT id FROM off) AND (:most > 0 OR id = ANY(CAST(:named AS text[])))
  ), first AS (
    (SELECT id, able, load, last_assigned_at FROM known WHERE able AND id NOT IN (SELECT id FROM off)
     ORDER BY load, last_assigned_at NULLS FIRST, id COLLATE "C" LIMIT :most)
    UNION ALL
    (SELECT id, able, load, last_assigned_at FROM known WHERE NOT able AND id NOT IN (SELECT id FROM off)
       AND (CAST(:north AS float8) IS NOT NULL OR :group_size > 1)
     ORDER BY load, last_assigned_at NULLS FIRST, id COLLATE "C" LIMIT :most)
    UNION ALL
    SELECT id, able, load, last_assigned_at FROM counted
  ), looked AS MATERIALIZED (
    (SELECT id, able, load FROM first
     ORDER BY able DESC, load, last_assigned_at NULLS FIRST, id COLLATE "C" LIMIT :most)
    UNION
    SELECT id, known.able, coalesce(counted.load, known.load)
    FROM known LEFT JOIN counted USING (id)
    WHERE id = ANY(CAST(:named AS text[]))
  )
  SELECT id, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at, hours, blocked,
    able AND meeting.slots > 0 AS busy, looked.load
  FROM looked JOIN trainers USING (id), LATERAL (
    SELECT string_agg(weekday || ' ' || starts || ' ' || ends, ',') AS hours
    FROM trainer_availability WHERE trainer_id = trainers.id AND able
  ) AS week, LATERAL (
    SELECT array_agg(day) AS blocked
    FROM trainer_blocked_days WHERE trainer_id = trainers.id AND able AND day BETWEEN :first AND :last
  ) AS closed, LATERAL (
    SELECT count(*) AS slots FROM trainer_slots AS slot
    WHERE slot.trainer_id = trainers.id AND able AND slot.status <> 'cancelled'
      AND slot.during && (SELECT during FROM times) AND slot.allocation_id NOT IN (SELECT id FROM gone)
  ) AS meeting"""


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


@dataclass(frozen=True)
class Round:
    """Whom to look at: the trainers `named` and, of all others but those `seen`, the `most` who come first.

    Name only those who are taken before all others if they fit: of others, a better one may not be looked at.

    `home`: where home lessons are to be, None: how far away is not asked; `group_size` 1: any trainer takes it.
    """

    home: Place | None = None
    group_size: int = 1
    named: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    most: int = FIRST_ROUND

    def with_named(self, trainer_id: str) -> Round:
        """Return the same round with one more who is looked at in any case."""
        return replace(self, named=(*self.named, trainer_id))

    def after(self, seen: Sequence[TrainerFacts]) -> Round:
        """Return the round that follows when none of those seen fits; it is as large as all before it together."""
        return replace(self, seen=tuple(trainer.id for trainer in seen), most=max(FIRST_ROUND, len(seen)))


def this_one(trainer_id: str) -> Round:
    """Return the round in which one trainer alone is looked at, whatever the place and the group."""
    return Round(named=(trainer_id,), most=0)


def parameters(lessons: Sequence[Lesson], now: datetime, whom: Round) -> dict[str, object]:
    """Return the parameters of PLAN, CONFLICT, COURSE, TRAINERS but for the student and the course."""
    days = [lesson.local.date() for lesson in lessons]
    around = timedelta(days=2)  # blocked days are read two days around the plan, for the zones
    home = whom.home
    return {
        **arrays(lessons), "now": now, "first": min(days) - around, "last": max(days) + around,
        "north": home.latitude if home else None, "east": home.longitude if home else None,
        "group_size": whom.group_size, "named": list(whom.named), "seen": list(whom.seen), "most": whom.most,
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
