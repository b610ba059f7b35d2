"""Add items to a student's cart, remove one, remove all: writes of the API, no part of a saga, one transaction each.

Accounts live elsewhere, so a student who is not known yet gets a row when the first item goes into the cart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from db.request_keys import KeyReused, claim_in
from db.tables import CartItem

MAX_ITEMS = 50  # in one cart, and so in one payment

# Raw: one that is there stays.
_STUDENT = text("INSERT INTO students (id, name) VALUES (:student_id, :student_id) ON CONFLICT DO NOTHING")
# Raw: it locks and reads nothing.
_LOCK = text("SELECT FROM students WHERE id = :student_id FOR NO KEY UPDATE")
_KEPT = select(col(CartItem.student_id), col(CartItem.item_type), col(CartItem.item_id), col(CartItem.details)).where(
    col(CartItem.id) == bindparam("id")
)
_COUNT = select(func.count()).select_from(CartItem).where(col(CartItem.student_id) == bindparam("student_id"))
# Raw: the time it is added is the database's.
_ADD = text(
    """
    INSERT INTO cart_items (id, student_id, item_type, item_id, metadata)
    VALUES (:id, :student_id, :item_type, :item_id, CAST(:details AS jsonb))
    """
)
_REMOVE = (
    delete(CartItem)
    .where(col(CartItem.id) == bindparam("id"), col(CartItem.student_id) == bindparam("student_id"))
    .returning(col(CartItem.id))
)
_EMPTY = delete(CartItem).where(col(CartItem.student_id) == bindparam("student_id"))


@dataclass(frozen=True)
class ToAdd:
    """An item to put into the cart. `id` is the cart item's own id, `details` its metadata as the caller sent it."""

    id: str
    student_id: str
    item_type: str
    item_id: str
    details: dict[str, Any]


class CartFull(Exception):
    """The cart holds MAX_ITEMS items already."""


async def add_to_cart(engine: AsyncEngine, item: ToAdd, key: str | None = None) -> bool:
    """Add the item once per key; return False when that was done before, even if the item has left the cart since.

    Raises CartFull, KeyReused (the key or the cart item's id came with something else before).
    """
    values = {
        "id": item.id,
        "student_id": item.student_id,
        "item_type": item.item_type,
        "item_id": item.item_id,
        "details": json.dumps(item.details),
    }
    async with engine.begin() as conn:
        await conn.execute(_STUDENT, values)
        await conn.execute(_LOCK, values)  # two that fill one cart take turns, so the limit and the id hold
        said = {"itemType": item.item_type, "itemId": item.item_id, "metadata": item.details}
        is_new = bool(key) and await claim_in(conn, "cart", item.student_id, str(key), said)
        kept = (await conn.execute(_KEPT, values)).one_or_none()
        if kept is not None:
            if tuple(kept) != (item.student_id, item.item_type, item.item_id, item.details):
                raise KeyReused
            return False
        if key and not is_new:
            return False
        if (await conn.execute(_COUNT, values)).scalar_one() >= MAX_ITEMS:
            raise CartFull
        await conn.execute(_ADD, values)
        return True


async def take_out(engine: AsyncEngine, cart_item_id: str, student_id: str) -> bool:
    """Remove one item; return False when this student's cart does not hold it."""
    async with engine.begin() as conn:
        taken = await conn.execute(_REMOVE, {"id": cart_item_id, "student_id": student_id})
        return taken.scalar_one_or_none() is not None


async def empty_cart(engine: AsyncEngine, student_id: str) -> None:
    """Remove all items from the student's cart."""
    async with engine.begin() as conn:
        await conn.execute(_EMPTY, {"student_id": student_id})
