"""Read what is needed to say of a trainer whom a search did not look at why they were not chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.ledger import Json
from db.rows import optional_row_as, rows_as
from domain.schedule import Lesson

# Raw: the purchase with its student, and below times that are ranges there.
_ASKED = text("""
SELECT purchase.student_id, purchase.item_id AS course_id, purchase.metadata AS fields, latitude, longitude
FROM student_course_purchases AS purchase JOIN students AS student ON student.id = purchase.student_id
WHERE purchase.id = :id
""")
_SLOTS = text("""
SELECT number, local_start AS local, lower(during) AS starts_at, upper(during) AS ends_at
FROM trainer_slots WHERE allocation_id = :id ORDER BY number
""")


@dataclass(frozen=True)
class AskedFor:
    """The course and the fields of a purchase, and where its student is."""

    student_id: str
    course_id: str
    fields: Json
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True)
class _Slot:
    number: int
    local: datetime
    starts_at: datetime
    ends_at: datetime


async def asked_for(conn: AsyncConnection, purchase_id: str) -> AskedFor | None:
    """Return what a purchase asks for, None when there is no purchase row."""
    return optional_row_as(AskedFor, await conn.execute(_ASKED, {"id": purchase_id}))


async def lessons_held(conn: AsyncConnection, allocation_id: str) -> list[Lesson]:
    """Return the lessons of an allocation, as its slots are now, also of one that was cancelled."""
    slots = rows_as(_Slot, await conn.execute(_SLOTS, {"id": allocation_id}))
    return [Lesson(slot.number, slot.local, slot.starts_at, slot.ends_at) for slot in slots]
