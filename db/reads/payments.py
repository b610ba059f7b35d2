"""Read the payment and its lines, before a door starts anything."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import rows_as


@dataclass(frozen=True)
class PaidLine:
    """One item of a payment; `title` None: the catalogue does not have it."""

    line: int
    item_type: str
    item_id: str
    title: str | None
    amount_minor: int
    currency: str
    given_back: bool = False  # all of it, so that nothing of it is paid


@dataclass(frozen=True)
class PaymentToStart:
    """A payment as the doors need it; its student is the only student a purchase is started for."""

    payment_id: str
    student_id: str
    status: str
    lines: tuple[PaidLine, ...]


@dataclass(frozen=True)
class _PaymentLine:
    student_id: str
    status: str
    currency: str
    line: int | None  # None, as all that follows, of a payment without lines
    item_type: str
    item_id: str
    amount_minor: int
    given_back_minor: int
    title: str | None


# Raw: a payment, its lines and their items, in one round trip.
_PAYMENT = text(
    """
    SELECT p.student_id, p.status, p.currency, l.line, l.item_type, l.item_id, l.amount_minor,
           l.given_back_minor, i.title
      FROM payments p
      LEFT JOIN payment_lines l ON l.payment_id = p.id
      LEFT JOIN catalogue_items i ON i.item_type = l.item_type AND i.id = l.item_id
     WHERE p.id = :payment_id
     ORDER BY l.line
    """
)

# Raw: asked of all payments at once. A line is unstarted when no row says a door took it, and also when the row has
# left no trace of a run: the door
# may have died, or Temporal been away, between the row and the start. Starting again what runs changes nothing.
_UNSTARTED = text(
    """
    SELECT p.id
      FROM payments p
     WHERE p.id > :after
       AND EXISTS (
           SELECT 1
             FROM payment_lines l LEFT JOIN purchase_starts s ON s.payment_id = l.payment_id AND s.line = l.line
            WHERE l.payment_id = p.id
              AND (s.purchase_id IS NULL
                   OR (s.ending IS NULL AND NOT EXISTS (
                       SELECT 1 FROM purchase_steps t
                        WHERE t.purchase_id = s.purchase_id AND t.attempt = s.attempt))))
     ORDER BY p.id
     LIMIT :limit
    """
)


async def payment_to_start(conn: AsyncConnection, payment_id: str) -> PaymentToStart | None:
    """Return the payment with its lines in order, None when it is not stored."""
    rows = rows_as(_PaymentLine, await conn.execute(_PAYMENT, {"payment_id": payment_id}))
    if not rows:
        return None
    lines = tuple(
        PaidLine(
            row.line,
            row.item_type,
            row.item_id,
            row.title,
            row.amount_minor,
            row.currency,
            0 < row.amount_minor <= row.given_back_minor,
        )
        for row in rows
        if row.line is not None
    )
    return PaymentToStart(payment_id, rows[0].student_id, rows[0].status, lines)


async def unstarted_payments(conn: AsyncConnection, *, after: str, limit: int) -> list[str]:
    """Return ids of payments with a line no workflow has taken up, in order, at most `limit`, after the id `after`."""
    return list((await conn.execute(_UNSTARTED, {"after": after, "limit": limit})).scalars())
