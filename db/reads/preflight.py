"""What a look ahead of a checkout asks: the student, what they own, and who could teach a plan. Nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.slot_holds import HOLDS, Holds, holds_of
from db.teaching import CONFLICT, PLAN, TRAINERS, times_of, trainer_facts
from domain.matching import Place, TrainerFacts
from domain.schedule import Lesson

_STUDENT = text("SELECT timezone, latitude, longitude FROM students WHERE id = :student_id")
_HOLIDAYS = text("SELECT day FROM holidays")
_OWNED = text(
    """
    SELECT purchase.item_type, purchase.item_id, purchase.session_count, payment.created_at AS paid_at
      FROM student_course_purchases AS purchase LEFT JOIN payments AS payment ON payment.id = purchase.payment_id
     WHERE purchase.student_id = :student_id AND purchase.status = 'active'
    """
)
_AHEAD = text(
    f"""WITH {PLAN}
    SELECT mine.conflict, holds.expired, holds.own, trainer.*
      FROM ({CONFLICT}) AS mine CROSS JOIN ({HOLDS}) AS holds LEFT JOIN ({TRAINERS}) AS trainer ON true"""  # noqa: S608 -- constants
)


@dataclass(frozen=True)
class Owned:
    """An active purchase of the student's; `paid_at` None: it was never paid for."""

    session_count: int
    paid_at: datetime | None


@dataclass(frozen=True)
class StudentFacts:
    """Where the student is (`timezone` None: no profile) and what they own, by item type and id."""

    timezone: str | None
    latitude: float | None
    longitude: float | None
    owned: dict[tuple[str, str], Owned]
    holidays: frozenset[date]


async def student_facts(conn: AsyncConnection, student_id: str) -> StudentFacts:
    """What is known of the student; of one nobody knows, nothing."""
    values = {"student_id": student_id}
    student = (await conn.execute(_STUDENT, values)).one_or_none()
    timezone, latitude, longitude = student or (None, None, None)
    owned = {
        (row.item_type, row.item_id): Owned(row.session_count, row.paid_at)
        for row in await conn.execute(_OWNED, values)
    }
    holidays = frozenset((await conn.execute(_HOLIDAYS)).scalars())
    return StudentFacts(timezone, latitude, longitude, owned, holidays)


@dataclass(frozen=True)
class Ahead:
    """`conflict`: number of the first lesson at which the student is busy, None if free; everybody who teaches the
    course; the holds that stand in the way of nothing here."""

    conflict: int | None
    trainers: tuple[TrainerFacts, ...]
    holds: Holds


async def who_could_teach(
    conn: AsyncConnection,
    student_id: str,
    course_id: str,
    lessons: Sequence[Lesson],
    now: datetime,
    home: Place | None = None,
) -> Ahead:
    """What a purchase of these lessons would find now. `home`: where home lessons are to be."""
    values = {**times_of(lessons, now, home), "student_id": student_id, "course_id": course_id}
    rows = (await conn.execute(_AHEAD, values)).all()
    trainers = tuple(trainer_facts(row) for row in rows if row.id is not None)
    return Ahead(rows[0].conflict, trainers, holds_of(rows[0]))
