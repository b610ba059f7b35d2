"""Read until when a purchase gives access, whether the student has it, and which purchases renewed each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import optional_row_as, rows_as
from db.tables import Student
from domain.access import access_day, access_ends


@dataclass(frozen=True)
class Access:
    """How access stands.

    `enrolled`: the student may use all of it now, by this purchase or another; None when it enrolls in nothing (yet).

    `ends_at`: the moment after the last day, None if access does not end. `lessons_after`: the numbers of lessons after
    the last day that no other purchase of the student covers; they stay (mission row C16).
    """

    until: date | None
    ends_at: datetime | None
    expired_at: datetime | None
    enrolled: bool | None
    lessons_after: list[int]


@dataclass(frozen=True)
class Renewal:
    """One purchase of a chain of renewals; `remaining` its own lessons still to come."""

    id: str
    workflow_id: str
    status: str
    superseded_by: str | None
    purchased_at: datetime
    until: date | None
    session_count: int
    remaining: int


@dataclass(frozen=True)
class _AccessRow:
    expires_on: date | None
    expired_at: datetime | None
    timezone: str | None
    lessons_after: list[int]


@dataclass(frozen=True)
class _Enrolled:
    item_type: str
    item_id: str
    days: list[str] | None


_ZONE = select(col(Student.timezone)).where(col(Student.id) == bindparam("id"))
# Raw: the lessons after the last day, but those that another purchase covers, in the same round trip.
_ACCESS = text(
    """
    SELECT p.expires_on, p.expired_at, s.timezone, ARRAY(
             SELECT l.number FROM sessions l
              WHERE l.purchase_id = p.id AND l.status = 'scheduled' AND l.local_start::date > p.expires_on
                AND NOT EXISTS (
                      SELECT FROM enrollments e
                       WHERE e.student_id = p.student_id AND e.item_type = p.item_type AND e.item_id = p.item_id
                         AND e.ended_at IS NULL AND (e.expires_on IS NULL OR e.expires_on >= l.local_start::date))
              ORDER BY l.number) AS lessons_after
      FROM student_course_purchases p JOIN students s ON s.id = p.student_id
     WHERE p.id = :id
    """
)
# Raw: each thing the purchase enrolls in, with the last days of all live access to it; an open-ended one is infinity.
_ENROLLED = text(
    """
    SELECT mine.item_type, mine.item_id,
           array_agg(coalesce(e.expires_on, 'infinity'::date)::text) FILTER (WHERE e.purchase_id IS NOT NULL) AS days
      FROM enrollments mine
      LEFT JOIN enrollments e ON e.student_id = mine.student_id AND e.item_type = mine.item_type
                             AND e.item_id = mine.item_id AND e.ended_at IS NULL
     WHERE mine.purchase_id = :id
     GROUP BY 1, 2
    """
)
# Raw: a chain of renewals is walked in both directions.
_CHAIN = text(
    """
    WITH RECURSIVE newer AS (
        SELECT id, superseded_by FROM student_course_purchases WHERE id = :id
         UNION
        SELECT p.id, p.superseded_by FROM student_course_purchases p JOIN newer ON p.id = newer.superseded_by
    ), chain AS (
        SELECT id, 0 AS renewals FROM newer WHERE superseded_by IS NULL
         UNION ALL
        SELECT p.id, renewals + 1 FROM student_course_purchases p JOIN chain ON p.superseded_by = chain.id
    )
    SELECT p.id, p.workflow_id, p.status, p.superseded_by, p.purchased_at, p.expires_on AS until, p.session_count,
           (SELECT count(*) FROM sessions l
             WHERE l.purchase_id = p.id AND l.status = 'scheduled' AND l.ends_at > :now) AS remaining
      FROM chain JOIN student_course_purchases p ON p.id = chain.id
     ORDER BY chain.renewals DESC, p.purchased_at, p.id
    """
)


async def access_of(conn: AsyncConnection, purchase_id: str, now: datetime) -> Access | None:
    """Return how the access of a purchase stands, None before there is a purchase row.

    It follows from the days, not from what the timer did: access ends on time also when no worker is up.
    """
    row = optional_row_as(_AccessRow, await conn.execute(_ACCESS, {"id": purchase_id}))
    if row is None:
        return None
    things = rows_as(_Enrolled, await conn.execute(_ENROLLED, {"id": purchase_id}))
    enrolled = all(any(_lasts(day, row.timezone, now) for day in thing.days or ()) for thing in things)
    return Access(
        until=row.expires_on,
        ends_at=access_ends(row.expires_on, row.timezone) if row.expires_on else None,
        expired_at=row.expired_at,
        enrolled=enrolled if things else None,
        lessons_after=row.lessons_after,
    )


async def renewals_of(conn: AsyncConnection, purchase_id: str, now: datetime) -> list[Renewal]:
    """Return the purchases that renewed each other, oldest first, this one among them (mission row 61)."""
    return rows_as(Renewal, await conn.execute(_CHAIN, {"id": purchase_id, "now": now}))


def _lasts(day: str, zone: str | None, now: datetime) -> bool:
    return day == "infinity" or now < access_ends(date.fromisoformat(day), zone)


async def today_of(conn: AsyncConnection, student_id: str, now: datetime) -> date:
    """Return the day it is in the student's zone, by which access is counted; without a profile it is UTC's."""
    return access_day(now, (await conn.execute(_ZONE, {"id": student_id})).scalar_one_or_none())
