"""What a door without a payment reads first: the student, the item, and what was asked for before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.reads.access import today_of


@dataclass(frozen=True)
class Shelf:
    """`student_known`; the rest is the item's, None when the catalogue has no such item."""

    student_known: bool
    title: str | None
    fulfilment: str | None
    open: bool | None
    price_minor: int | None
    currency: str | None


@dataclass(frozen=True)
class Asked:
    """What a door was asked for, as it was stored."""

    item_type: str
    item_id: str
    metadata: dict[str, Any]
    supersede: bool


_SHELF = text(
    """
    SELECT EXISTS (SELECT FROM students WHERE id = :student_id) AS student_known,
           i.title, i.fulfilment, i.open, i.price_minor, i.currency
      FROM (SELECT) AS always LEFT JOIN catalogue_items i ON i.item_type = :item_type AND i.id = :item_id
    """
)
_ASKED = text("SELECT item_type, item_id, metadata, supersede FROM purchase_requests WHERE purchase_id = :id")
_ACTIVE = text(
    """
    SELECT id FROM student_course_purchases
     WHERE student_id = :student_id AND item_type = 'course' AND item_id = :course_id AND status = 'active'
       AND (expires_on IS NULL OR expires_on >= :today)
    """
)


async def shelf_of(conn: AsyncConnection, student_id: str, item_type: str, item_id: str) -> Shelf:
    """Whether this student could have this item."""
    values = {"student_id": student_id, "item_type": item_type, "item_id": item_id}
    return Shelf(**(await conn.execute(_SHELF, values)).mappings().one())


async def asked_for(conn: AsyncConnection, purchase_id: str) -> Asked | None:
    """The request behind a purchase; None when a payment alone is."""
    row = (await conn.execute(_ASKED, {"id": purchase_id})).mappings().one_or_none()
    return Asked(**row) if row else None


async def active_purchase(conn: AsyncConnection, student_id: str, course_id: str, now: datetime) -> str | None:
    """The purchase through which the student has the course now: one at most, an index holds it."""
    today = await today_of(conn, student_id, now)
    values = {"student_id": student_id, "course_id": course_id, "today": today}
    return (await conn.execute(_ACTIVE, values)).scalar_one_or_none()
