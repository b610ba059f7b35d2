"""Read a student's cart, with what the catalogue says of its items now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import rows_as


@dataclass(frozen=True)
class CartLine:
    """One item in a cart. `title`, `price_minor`, `currency`, `fulfilment` None: the catalogue does not have it."""

    id: str
    item_type: str
    item_id: str
    details: dict[str, Any]
    title: str | None
    price_minor: int | None
    currency: str | None
    fulfilment: str | None
    open: bool


# Raw: what lies there is joined with what the catalogue has of it, in one round trip.
_CART = text(
    """
    SELECT cart.id, cart.item_type, cart.item_id, cart.metadata AS details,
           item.title, item.price_minor, item.currency, item.fulfilment, coalesce(item.open, false) AS open
      FROM cart_items AS cart
      LEFT JOIN catalogue_items AS item ON item.item_type = cart.item_type AND item.id = cart.item_id
     WHERE cart.student_id = :student_id
     ORDER BY cart.added_at, cart.id
    """
)


async def cart_of(conn: AsyncConnection, student_id: str) -> list[CartLine]:
    """Return the student's cart in the order it was filled."""
    return rows_as(CartLine, await conn.execute(_CART, {"student_id": student_id}))
