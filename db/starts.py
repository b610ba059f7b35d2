"""Write a row in `purchase_starts` before the workflow starts: a door's only write (spec section 10).

What an event starts is written in the transaction that takes the event, so that neither is there without the other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.purchase import PurchaseOrder


@dataclass(frozen=True)
class IncomingEvent:
    """An event of another system that passed the door. `metadata`: what it says of each line, by line number."""

    key: str
    event_id: str
    type: str
    payment_id: str
    occurred_at: datetime
    data: Mapping[str, Any]
    metadata: Mapping[int, Mapping[str, Any]]


# Raw, as all of this file: the first stays, whoever comes at once.
_TAKE = text(
    """
    INSERT INTO taken_events (key, event_id, type, payment_id, data, occurred_at, taken_at)
    VALUES (:key, :event_id, :type, :payment_id, CAST(:data AS jsonb), :occurred_at, :now)
    ON CONFLICT DO NOTHING
    """
)
_HANDLED = text("UPDATE taken_events SET handled_at = :now WHERE key = :key AND handled_at IS NULL")
_INSERT = text(
    """
    INSERT INTO purchase_starts
      (purchase_id, workflow_id, payment_id, line, student_id, origin, attempt, event_metadata, started_at)
    VALUES (:purchase_id, :workflow_id, :payment_id, :line, :student_id, :origin, 1, CAST(:metadata AS jsonb), :now)
    ON CONFLICT DO NOTHING
    """
)
# Another door was first; what the event knows is still read, if the payment has not been confirmed yet. A statement of
# its own: an upsert names one unique key, and two doors at once may meet at any of them.
_TELL = text(
    """
    UPDATE purchase_starts SET event_metadata = CAST(:metadata AS jsonb)
     WHERE purchase_id = :purchase_id AND event_metadata IS NULL AND ending IS NULL
    """
)
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('start again ' || :purchase_id, 0))")
_NEXT_ATTEMPT = text(
    """
    UPDATE purchase_starts
       SET attempt = attempt + 1, ending = NULL, code = NULL, refunded = NULL, ended_at = NULL, started_at = :now
     WHERE purchase_id = :purchase_id AND attempt = :attempt AND ending IS NOT NULL AND refunded IS NOT TRUE
    """
)


async def record_starts(
    engine: AsyncEngine, orders: Sequence[PurchaseOrder], now: datetime, event: IncomingEvent | None = None
) -> None:
    """Insert a row for each order that has none, committed before any workflow starts; a repeat changes nothing.

    The event they come from, if any, is taken in the same transaction.
    """
    said: Mapping[int, Mapping[str, Any]] = event.metadata if event else {}
    rows = [
        {
            "purchase_id": order.purchase_id,
            "workflow_id": order.workflow_id,
            "payment_id": order.payment_id,
            "line": order.line,
            "student_id": order.student_id,
            "origin": order.origin,
            "metadata": json.dumps(said[order.line]) if order.line in said else None,
            "now": now,
        }
        for order in sorted(orders, key=lambda order: order.line)  # one order of locks for all who come at once
    ]
    if not rows and not event:
        return
    async with engine.begin() as conn:
        if event:
            await conn.execute(_TAKE, {**_taken(event), "now": now})
        if rows:
            await conn.execute(_INSERT, rows)
        if told := [{name: row[name] for name in ("purchase_id", "metadata")} for row in rows if row["metadata"]]:
            await conn.execute(_TELL, told)


async def record_new_attempt(engine: AsyncEngine, purchase_id: str, ended_attempt: int, now: datetime) -> None:
    """Open an ended row for its next attempt; of several callers one does so, the others change nothing."""
    async with engine.begin() as conn:
        await conn.execute(_NEXT_ATTEMPT, {"purchase_id": purchase_id, "attempt": ended_attempt, "now": now})


@asynccontextmanager
async def taking_turns(engine: AsyncEngine, purchase_id: str) -> AsyncGenerator[AsyncConnection]:
    """Make doors that start this purchase again take turns; each sees what the one before has written."""
    async with engine.begin() as conn:
        await conn.execute(_TAKE_TURNS, {"purchase_id": purchase_id})
        yield conn


async def event_handled(engine: AsyncEngine, key: str, now: datetime) -> None:
    """Mark the event handled, as every line of its payment has its workflow: a redelivery is now a duplicate."""
    async with engine.begin() as conn:
        await conn.execute(_HANDLED, {"key": key, "now": now})


def _taken(event: IncomingEvent) -> dict[str, Any]:
    return {
        "key": event.key,
        "event_id": event.event_id,
        "type": event.type,
        "payment_id": event.payment_id,
        "data": json.dumps(event.data),
        "occurred_at": event.occurred_at,
    }
