"""The door's only write: a row in `purchase_starts` before the workflow starts (spec section 10, rows before workflows)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.purchase import PurchaseOrder

_INSERT = text(
    """
    INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, attempt, started_at)
    VALUES (:purchase_id, :workflow_id, :payment_id, :line, :student_id, :origin, 1, now())
    ON CONFLICT DO NOTHING
    """
)
_AGAIN = text(
    """
    UPDATE purchase_starts
       SET attempt = attempt + 1, ending = NULL, code = NULL, refunded = NULL, ended_at = NULL, started_at = now()
     WHERE purchase_id = :purchase_id AND attempt = :attempt AND ending IS NOT NULL AND refunded IS NOT TRUE
    """
)


async def record_starts(engine: AsyncEngine, orders: Sequence[PurchaseOrder]) -> None:
    """Insert a row for each order that has none, committed before anything starts. Twice is once."""
    rows = [
        {
            "purchase_id": order.purchase_id,
            "workflow_id": order.workflow_id,
            "payment_id": order.payment_id,
            "line": order.line,
            "student_id": order.student_id,
            "origin": order.origin,
        }
        for order in orders
    ]
    if not rows:
        return
    async with engine.begin() as conn:
        await conn.execute(_INSERT, rows)


async def record_new_attempt(engine: AsyncEngine, purchase_id: str, ended_attempt: int) -> None:
    """Open an ended row for its next attempt; of several callers one wins, the others change nothing."""
    async with engine.begin() as conn:
        await conn.execute(_AGAIN, {"purchase_id": purchase_id, "attempt": ended_attempt})
