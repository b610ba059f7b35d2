"""Slot holds: times of a trainer kept for a student for some minutes, before they are paid for.

A hold is an allocation `on_hold`, without a purchase; its slots are slots as all others, so the constraints that keep
lessons apart keep holds apart too. A constraint cannot read the clock: whoever looks for a trainer lets go of what has
expired, whether or not the hold's own timer has fired.

Lock order: the student, holds in the order of their ids, then one trainer. Their slots are not in the trainer's kept
load, so nobody who lets go of some waits for their trainers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.errors import ExclusionViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import row_as, rows_as
from db.teaching import SLOTS, slots
from domain.refusals import Refused
from domain.schedule import Lesson

MAX_HOLDS = 3  # of one student; a CHECK and a unique index hold it
MAX_HOLDS_A_DAY = 6  # holds of one course by one student in a day: times are held to pay for them, not to keep them

# To be used beside PLAN. `same`: it holds exactly the lessons of the plan; `meets`: it holds a time of the plan.
HOLDS: LiteralString = """
  SELECT
    ARRAY(SELECT id FROM allocations WHERE status = 'on_hold' AND hold_expires_at <= :now) AS expired,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
       'id', hold.id, 'course_id', hold.course_id, 'trainer_id', hold.trainer_id, 'zone', slots.zone,
       'same', slots.during = (SELECT array_agg(during ORDER BY number) FROM plan), 'meets', slots.meets)), '[]')
     FROM allocations AS hold, LATERAL (
       SELECT array_agg(during ORDER BY number) AS during, min(zone) AS zone,
         bool_or(during && (SELECT during FROM times)) AS meets
       FROM trainer_slots WHERE allocation_id = hold.id
     ) AS slots
     WHERE hold.student_id = :student_id AND hold.status = 'on_hold' AND hold.hold_expires_at > :now) AS own"""

# Raw: holds and slots in one statement. Waits for whoever is at one of them, always in the same order, so that no two
# can wait for each other.
LET_GO = text("""
WITH ended AS (
  UPDATE allocations SET status = 'cancelled', cancelled_at = :now
  WHERE id IN (
    SELECT id FROM allocations
    WHERE status = 'on_hold' AND (hold_expires_at <= :now OR id = ANY(CAST(:ids AS text[])))
    ORDER BY id FOR UPDATE
  ) AND status = 'on_hold'
  RETURNING id
)
UPDATE trainer_slots SET status = 'cancelled' FROM ended
WHERE allocation_id = ended.id AND trainer_slots.status <> 'cancelled'
""")

_STUDENT = text("SELECT FROM students WHERE id = :student_id FOR NO KEY UPDATE")
# Raw: trainer, hold and slots in one statement. Compared on last_assigned_at, but it is left as it is: a hold is no
# assignment, or whoever holds would be passed over.
_HOLD = text(f"""
WITH free AS (
  SELECT min(number) AS number FROM generate_series(1, 3) AS number
  WHERE number NOT IN (SELECT hold_number FROM allocations WHERE student_id = :student_id AND status = 'on_hold')
), trainer AS (
  SELECT id FROM trainers
  WHERE id = :trainer_id AND last_assigned_at IS NOT DISTINCT FROM CAST(:seen AS timestamptz) FOR NO KEY UPDATE
), allocation AS (
  INSERT INTO allocations (id, trainer_id, student_id, status, won, lost, created_at, course_id, hold_number, hold_expires_at)
  SELECT :id, trainer.id, :student_id, 'on_hold', CAST(:won AS jsonb), CAST(:lost AS jsonb), :now, :course_id, free.number,
         :expires_at
  FROM trainer, free WHERE free.number IS NOT NULL
  RETURNING id, trainer_id
), {SLOTS}
SELECT free.number, (SELECT count(*) FROM slots) AS held FROM free
""")  # noqa: S608 - a literal of our own
_END_OWN = text("""
WITH ended AS (
  UPDATE allocations SET status = 'cancelled', cancelled_at = :now
  WHERE id = :id AND student_id = :student_id AND status = 'on_hold' RETURNING id
), slots AS (
  UPDATE trainer_slots SET status = 'cancelled' FROM ended WHERE allocation_id = ended.id
)
SELECT id FROM ended
""")
# Raw: each hold with what its slots come to.
_LIVE = text("""
SELECT hold.id, hold.course_id, hold.trainer_id, trainer.name AS trainer_name, hold.hold_expires_at AS expires_at, count(*) AS lessons,
       min(slot.local_start) AS first_local, max(slot.local_start) AS last_local, min(slot.zone) AS zone
  FROM allocations AS hold
  JOIN trainer_slots AS slot ON slot.allocation_id = hold.id
  JOIN trainers AS trainer ON trainer.id = hold.trainer_id
 WHERE hold.student_id = :student_id AND hold.status = 'on_hold' AND hold.hold_expires_at > :now
 GROUP BY hold.id, trainer.name ORDER BY hold.created_at, hold.id
""")


_TRIES = text("""
SELECT count(*) FROM allocations
 WHERE student_id = :student_id AND course_id = :course_id AND hold_expires_at IS NOT NULL AND purchase_id IS NULL
   AND created_at > CAST(:now AS timestamptz) - interval '1 day'
""")


class TooManyHolds(Exception):
    """The student has MAX_HOLDS live holds of other courses."""


class HeldTooOften(Exception):
    """The student has held times of this course MAX_HOLDS_A_DAY times within a day, and has not bought it."""


class TakenMeanwhile(Exception):
    """What the trainer was chosen by has changed before the hold: search again. `trainer_id`: the trainer chosen."""

    def __init__(self, trainer_id: str) -> None:
        super().__init__(f"{trainer_id} was taken meanwhile")
        self.trainer_id = trainer_id


@dataclass(frozen=True)
class OwnHold:
    """A live hold of the student. `same`: it holds exactly the plan's lessons; `meets`: it holds some time of it."""

    id: str
    course_id: str
    trainer_id: str
    zone: str
    same: bool
    meets: bool


@dataclass(frozen=True)
class Holds:
    """`expired`: ids of anybody's expired holds that have not been ended yet; `own`: the student's live holds."""

    expired: list[str]
    own: list[OwnHold]

    def of(self, course_id: str) -> OwnHold | None:
        """Return the student's hold of a course, None without one; a unique index allows only one."""
        return next((hold for hold in self.own if hold.course_id == course_id), None)


@dataclass(frozen=True)
class ToHold:
    """A hold to make: the chosen trainer (`seen`: its `last_assigned_at` at that time), all lessons, until when."""

    id: str
    student_id: str
    course_id: str
    trainer_id: str
    seen: datetime | None
    lessons: Sequence[Lesson]
    zone: str
    won: dict[str, Any]
    lost: dict[str, str]
    expires_at: datetime


@dataclass(frozen=True)
class _Made:
    number: int | None  # None: the student has as many holds as there may be
    held: int


@dataclass(frozen=True)
class LiveHold:
    """A hold that has not expired; its wall times are in `zone`."""

    id: str
    course_id: str
    trainer_id: str
    trainer_name: str
    expires_at: datetime
    lessons: int
    first_local: datetime
    last_local: datetime
    zone: str


@dataclass(frozen=True)
class HoldsRow:
    """A row of HOLDS; each of `own` has the fields of an OwnHold."""

    expired: list[str]
    own: list[dict[str, Any]]


def holds_of(row: HoldsRow) -> Holds:
    """Return the holds that a row of HOLDS has."""
    return Holds(row.expired, [OwnHold(**hold) for hold in row.own])


async def lock_student(conn: AsyncConnection, student_id: str) -> None:
    """Lock the student's row: two that hold for one student, or hold and buy, take turns."""
    await conn.execute(_STUDENT, {"student_id": student_id})


async def require_not_too_often(conn: AsyncConnection, student_id: str, course_id: str, now: datetime) -> None:
    """Raise HeldTooOften when the student held times of the course MAX_HOLDS_A_DAY times within a day."""
    asked = {"student_id": student_id, "course_id": course_id, "now": now}
    if (await conn.execute(_TRIES, asked)).scalar_one() >= MAX_HOLDS_A_DAY:
        raise HeldTooOften


async def let_go(conn: AsyncConnection, ids: Sequence[str], now: datetime) -> None:
    """End these holds, and all that have expired."""
    await conn.execute(LET_GO, {"ids": list(ids), "now": now})


async def hold_slots(conn: AsyncConnection, wanted: ToHold, now: datetime) -> None:
    """Hold all the lessons. Raises TooManyHolds, TakenMeanwhile, SCHEDULE_CONFLICT: roll the transaction back then."""
    values = {
        **slots(wanted.lessons), "id": wanted.id,
        "student_id": wanted.student_id, "course_id": wanted.course_id, "trainer_id": wanted.trainer_id,
        "seen": wanted.seen, "zone": wanted.zone, "won": json.dumps(wanted.won), "lost": json.dumps(wanted.lost),
        "expires_at": wanted.expires_at, "now": now,
    }  # fmt: skip
    try:
        made = row_as(_Made, await conn.execute(_HOLD, values))
    except IntegrityError as error:
        if isinstance(error.orig, ExclusionViolation):
            if error.orig.diag.constraint_name == "trainer_slots_student_is_free":
                raise Refused("SCHEDULE_CONFLICT", "the student already has one of these times") from error
            raise TakenMeanwhile(wanted.trainer_id) from error
        raise
    if made.number is None:
        raise TooManyHolds
    if made.held != len(wanted.lessons):
        raise TakenMeanwhile(wanted.trainer_id)


async def end_own(conn: AsyncConnection, hold_id: str, student_id: str, now: datetime) -> bool:
    """End one hold; return False when the student has no such hold (any more)."""
    values = {"id": hold_id, "student_id": student_id, "now": now}
    return (await conn.execute(_END_OWN, values)).scalar_one_or_none() is not None


async def live_holds(conn: AsyncConnection, student_id: str, now: datetime) -> list[LiveHold]:
    """Return the student's holds that have not expired, oldest first."""
    return rows_as(LiveHold, await conn.execute(_LIVE, {"student_id": student_id, "now": now}))
