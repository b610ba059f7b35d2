"""Read what a preflight needs: the student, what they own, and who could teach a plan. Nothing is locked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import rows_as
from db.slot_holds import HOLDS, Holds, HoldsRow, holds_of
from db.tables import Holiday, Payment, Purchase, Student
from db.teaching import CONFLICT, COURSE, PLAN, TRAINERS, Round, TrainerRow, parameters, trainers_of
from domain.matching import TrainerFacts
from domain.schedule import Lesson

_STUDENT = select(col(Student.timezone), col(Student.latitude), col(Student.longitude)).where(
    col(Student.id) == bindparam("id")
)
_HOLIDAYS = select(col(Holiday.day))
_OWNED = (
    select(col(Purchase.item_type), col(Purchase.item_id), col(Purchase.session_count), col(Payment.created_at))
    .select_from(Purchase)
    .outerjoin(Payment, col(Payment.id) == col(Purchase.payment_id))
    .where(col(Purchase.student_id) == bindparam("student_id"), col(Purchase.status) == "active")
)
# Raw: trainers with all that speaks against them, in one statement; one row even without any.
_AHEAD = text(
    f"""WITH {PLAN}
    SELECT mine.conflict, holds.expired, holds.own, course.teaching, trainer.*
      FROM ({CONFLICT}) AS mine CROSS JOIN ({HOLDS}) AS holds CROSS JOIN ({COURSE}) AS course
      LEFT JOIN ({TRAINERS}) AS trainer ON true"""  # noqa: S608 -- constants
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
    """Return the student's profile and active purchases, none for an unknown student, and the holidays."""
    student = (await conn.execute(_STUDENT, {"id": student_id})).one_or_none()
    timezone, latitude, longitude = student or (None, None, None)
    owned = {
        (item_type, item_id): Owned(session_count, paid_at)
        for item_type, item_id, session_count, paid_at in await conn.execute(_OWNED, {"student_id": student_id})
    }
    holidays = frozenset((await conn.execute(_HOLIDAYS)).scalars())
    return StudentFacts(timezone, latitude, longitude, owned, holidays)


@dataclass(frozen=True)
class Ahead:
    """`conflict`: number of the first lesson at which the student is busy, None if free; `trainers`: those looked at of
    the `teaching` there are; `holds`: those whose times count as free here."""

    conflict: int | None
    trainers: tuple[TrainerFacts, ...]
    holds: Holds
    teaching: int

    def with_further(self, trainers: tuple[TrainerFacts, ...]) -> Ahead:
        """Return the same with further trainers; without any, these are all."""
        seen = self.trainers + trainers
        return replace(self, trainers=seen, teaching=self.teaching if trainers else len(seen))


@dataclass(frozen=True)
class _AheadRow(TrainerRow, HoldsRow):
    conflict: int | None
    teaching: int


async def who_could_teach(
    conn: AsyncConnection,
    student_id: str,
    course_id: str,
    lessons: Sequence[Lesson],
    now: datetime,
    whom: Round,
) -> Ahead:
    """Return what a purchase of these lessons would find now."""
    values = {**parameters(lessons, now, whom), "student_id": student_id, "course_id": course_id}
    rows = rows_as(_AheadRow, await conn.execute(_AHEAD, values))
    return Ahead(rows[0].conflict, trainers_of(rows), holds_of(rows[0]), rows[0].teaching)
