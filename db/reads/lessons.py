"""Read lessons one by one: of a purchase, of a student, of a trainer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.closed_days import STRANDED, Stranded, stranded_of
from db.rows import rows_as
from db.tables import Student, Trainer


@dataclass(frozen=True)
class LessonRow:
    """A lesson as it stands. `clock`, `asked_start`: see `domain.schedule.Lesson`; `revision` counts its changes."""

    allocation_id: str
    number: int
    purchase_id: str
    student_id: str
    trainer_id: str
    trainer_name: str
    item_id: str
    title: str
    starts_at: datetime
    ends_at: datetime
    local_start: datetime
    zone: str
    clock: str | None
    asked_start: datetime | None
    status: str
    revision: int
    written_at: datetime


# Raw: a lesson is told from five tables.
_LESSONS = """
SELECT session.allocation_id, session.number, session.purchase_id, slot.student_id, slot.trainer_id,
       trainer.name AS trainer_name, purchase.item_id, item.title, session.starts_at, session.ends_at,
       session.local_start, session.zone, session.clock, session.asked_start, session.status, session.revision,
       coalesce(session.changed_at, session.created_at) AS written_at
FROM sessions AS session
JOIN trainer_slots AS slot USING (allocation_id, number)
JOIN trainers AS trainer ON trainer.id = slot.trainer_id
JOIN student_course_purchases AS purchase ON purchase.id = session.purchase_id
JOIN catalogue_items AS item ON (item.item_type, item.id) = (purchase.item_type, purchase.item_id)
"""
_ORDER = " ORDER BY session.starts_at, session.allocation_id, session.number"
_OF_PURCHASE = text(f"{_LESSONS} WHERE session.purchase_id = :id {_ORDER}")
_OF_STUDENT = text(f"{_LESSONS} WHERE slot.student_id = :id AND session.ends_at > :since {_ORDER}")
_OF_TRAINER = text(f"{_LESSONS} WHERE slot.trainer_id = :id AND session.ends_at > :since {_ORDER}")
# Raw: the latest of each slot's history. Lessons a trainer was to give and another gives now: at the time they were
# taken away, as cancelled.
_TAKEN_FROM = text(
    """
    SELECT DISTINCT ON (was.allocation_id, was.number)
           session.allocation_id, session.number, session.purchase_id, slot.student_id, was.trainer_id,
           trainer.name AS trainer_name, purchase.item_id, item.title, lower(was.during) AS starts_at,
           upper(was.during) AS ends_at, was.local_start, was.zone, NULL AS clock, NULL AS asked_start,
           'cancelled' AS status, session.revision, coalesce(session.changed_at, session.created_at) AS written_at
      FROM slot_history AS was
      JOIN trainer_slots AS slot USING (allocation_id, number)
      JOIN sessions AS session USING (allocation_id, number)
      JOIN trainers AS trainer ON trainer.id = was.trainer_id
      JOIN student_course_purchases AS purchase ON purchase.id = session.purchase_id
      JOIN catalogue_items AS item ON (item.item_type, item.id) = (purchase.item_type, purchase.item_id)
     WHERE was.trainer_id = :id AND slot.trainer_id <> :id AND upper(was.during) > :since
     ORDER BY was.allocation_id, was.number, was.id DESC
    """
)
_STRANDED = text(STRANDED)
_STUDENT = select(col(Student.id)).where(col(Student.id) == bindparam("id"))
_TRAINER = select(col(Trainer.id)).where(col(Trainer.id) == bindparam("id"))


async def lessons_one_by_one(conn: AsyncConnection, purchase_id: str) -> list[LessonRow]:
    """Return the lessons of a purchase in the order of their times, cancelled ones too."""
    return rows_as(LessonRow, await conn.execute(_OF_PURCHASE, {"id": purchase_id}))


async def lessons_of_student(
    conn: AsyncConnection, student_id: str, since: datetime, own: str | None
) -> list[LessonRow] | None:
    """Return those that end after `since`, None without such a student or if it is not `own` (None: everybody)."""
    if own not in (None, student_id) or (await conn.execute(_STUDENT, {"id": student_id})).one_or_none() is None:
        return None
    return rows_as(LessonRow, await conn.execute(_OF_STUDENT, {"id": student_id, "since": since}))


async def lessons_of_trainer(conn: AsyncConnection, trainer_id: str, since: datetime) -> list[LessonRow] | None:
    """Return lessons that end after `since`, and as cancelled those that another trainer was given.

    Returns None when there is no such trainer.
    """
    if (await conn.execute(_TRAINER, {"id": trainer_id})).one_or_none() is None:
        return None
    values = {"id": trainer_id, "since": since}
    given = rows_as(LessonRow, await conn.execute(_OF_TRAINER, values))
    return given + rows_as(LessonRow, await conn.execute(_TAKEN_FROM, values))


async def stranded_lessons(conn: AsyncConnection, purchase_id: str, now: datetime) -> list[Stranded]:
    """Return the lessons to come of a purchase that are on a day closed after they were planned."""
    return stranded_of(await conn.execute(_STRANDED, {"purchase_id": purchase_id, "now": now}))
