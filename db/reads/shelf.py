"""Read what a door without a payment needs first: the student, the item, and what was asked for before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.reads.access import today_of
from db.rows import optional_row_as, row_as
from db.tables import Purchase, PurchaseRequest


@dataclass(frozen=True)
class Shelf:
    """`student_known`, and the item: all other fields are None when the catalogue does not have it."""

    student_known: bool
    title: str | None
    fulfilment: str | None
    open: bool | None
    price_minor: int | None
    currency: str | None


@dataclass(frozen=True)
class StoredRequest:
    """What a door was asked for, as it was stored."""

    item_type: str
    item_id: str
    metadata: dict[str, Any]
    supersede: bool


# Raw: one row, whether or not there is such a student or item.
_SHELF = text(
    """
    SELECT EXISTS (SELECT FROM students WHERE id = :student_id) AS student_known,
           i.title, i.fulfilment, i.open, i.price_minor, i.currency
      FROM (SELECT) AS always LEFT JOIN catalogue_items i ON i.item_type = :item_type AND i.id = :item_id
    """
)


_REQUEST = select(
    col(PurchaseRequest.item_type),
    col(PurchaseRequest.item_id),
    col(PurchaseRequest.said),
    col(PurchaseRequest.supersede),
).where(col(PurchaseRequest.purchase_id) == bindparam("id"))
_ACTIVE = select(col(Purchase.id)).where(
    col(Purchase.student_id) == bindparam("student_id"),
    col(Purchase.item_type) == "course",
    col(Purchase.item_id) == bindparam("course_id"),
    col(Purchase.status) == "active",
    or_(col(Purchase.expires_on).is_(None), col(Purchase.expires_on) >= bindparam("today")),
)


async def shelf_of(conn: AsyncConnection, student_id: str, item_type: str, item_id: str) -> Shelf:
    """Read whether there is such a student, and the item."""
    values = {"student_id": student_id, "item_type": item_type, "item_id": item_id}
    return row_as(Shelf, await conn.execute(_SHELF, values))


async def stored_request(conn: AsyncConnection, purchase_id: str) -> StoredRequest | None:
    """Return the request behind a purchase, None when only a payment is behind it."""
    return optional_row_as(StoredRequest, await conn.execute(_REQUEST, {"id": purchase_id}))


async def active_purchase(conn: AsyncConnection, student_id: str, course_id: str, now: datetime) -> str | None:
    """Return the id of the purchase that gives the student the course now, or None; an index allows only one."""
    today = await today_of(conn, student_id, now)
    values = {"student_id": student_id, "course_id": course_id, "today": today}
    return (await conn.execute(_ACTIVE, values)).scalar_one_or_none()
