"""Write the start row and the request of the direct and the free door in one transaction, before a workflow starts.

Without a payment only student and item can show that two requests are the same one sent twice, so requests take turns
per student and item (an advisory lock that ends with the transaction).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from db.reads.access import today_of
from db.request_keys import Key, answered_once
from db.tables import PurchaseRequest, PurchaseStart
from domain.ids import purchase_id_of
from domain.purchase import PurchaseOrder


@dataclass(frozen=True)
class Request:
    """What was asked for, by whom and why. `supersede`: make a purchase even if the student has the item already."""

    student_id: str
    item_type: str
    item_id: str
    metadata: Mapping[str, Any]
    actor: str
    reason: str | None = None
    supersede: bool = False


# Raw, as the next: the first stays.
_START = text(
    """
    INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, attempt, started_at)
    VALUES (:purchase_id, :workflow_id, nullif(:payment_id, ''), :line, :student_id, :origin, 1, :now)
    ON CONFLICT DO NOTHING
    """
)
_REQUEST = text(
    """
    INSERT INTO purchase_requests (purchase_id, item_type, item_id, metadata, supersede, actor, reason, requested_at)
    VALUES (:purchase_id, :item_type, :item_id, CAST(:metadata AS jsonb), :supersede, :actor, :reason, :now)
    ON CONFLICT DO NOTHING
    """
)
_TAKE_TURNS = text(
    """
    SELECT pg_advisory_xact_lock(hashtextextended(
      jsonb_build_array(CAST(:student_id AS text), CAST(:item_type AS text), CAST(:item_id AS text))::text, 0))
    """
)
_BY_WORKFLOW = select(col(PurchaseStart.purchase_id)).where(col(PurchaseStart.workflow_id) == bindparam("workflow_id"))
# Raw: one question of both tables. What the student has and may still use; else what a door without a payment has begun
# and nobody has ended.
_HAS = text(
    """
    SELECT id FROM student_course_purchases
     WHERE student_id = :student_id AND item_type = :item_type AND item_id = :item_id
       AND status = 'active' AND (expires_on IS NULL OR expires_on >= :today)
     UNION ALL
    (SELECT s.purchase_id FROM purchase_starts s JOIN purchase_requests r USING (purchase_id)
      WHERE s.student_id = :student_id AND r.item_type = :item_type AND r.item_id = :item_id
        AND s.payment_id IS NULL AND s.ending IS NULL
        AND NOT EXISTS (SELECT FROM student_course_purchases c WHERE c.id = s.purchase_id)
      ORDER BY s.started_at LIMIT 1)
     LIMIT 1
    """
)
_FREE_BEFORE = (
    select(func.count())
    .select_from(PurchaseStart)
    .join(PurchaseRequest, col(PurchaseRequest.purchase_id) == col(PurchaseStart.purchase_id))
    .where(
        col(PurchaseStart.student_id) == bindparam("student_id"),
        col(PurchaseRequest.item_type) == bindparam("item_type"),
        col(PurchaseRequest.item_id) == bindparam("item_id"),
        col(PurchaseStart.origin) == "free",
    )
)


async def record_request(engine: AsyncEngine, order: PurchaseOrder, request: Request, now: datetime) -> None:
    """Insert the start row of a paid line, unless a door has made it, and the request; a repeat changes nothing."""
    async with engine.begin() as conn:
        await _insert(conn, order, request, now)


async def claim_by_key(
    engine: AsyncEngine, workflow_id: str, request: Request, now: datetime, key: Key | None = None
) -> str:
    """Return the id of the purchase that answers this request: the one `key` was answered with before, the one of this
    workflow id, the one the student has, else a new one. Raises KeyReused.

    A request with `supersede` gets a new one although the student has one.
    """

    async def find() -> str:
        if mine := (await conn.execute(_BY_WORKFLOW, {"workflow_id": workflow_id})).scalar_one_or_none():
            return mine
        has = None if request.supersede else await _has(conn, about, now)
        return has or await _insert(conn, _unpaid(workflow_id, request, "admin"), request, now)

    async with engine.begin() as conn:
        about = await _take_turns(conn, request)
        return await answered_once(conn, key, find)


async def claim_free(
    engine: AsyncEngine, workflow_id: Callable[[int], str], request: Request, now: datetime, key: Key | None = None
) -> str:
    """Return the id of the purchase that answers this request: the one `key` was answered with before, the one the
    student has, else a new one. Raises KeyReused.

    `workflow_id` returns the workflow id of the n-th free purchase of this item; all before it have ended.
    """

    async def find() -> str:
        if has := await _has(conn, about, now):
            return has
        before = (await conn.execute(_FREE_BEFORE, about)).scalar_one()
        return await _insert(conn, _unpaid(workflow_id(before + 1), request, "free"), request, now)

    async with engine.begin() as conn:
        about = await _take_turns(conn, request)
        return await answered_once(conn, key, find)


async def _take_turns(conn: AsyncConnection, request: Request) -> dict[str, object]:
    about: dict[str, object] = {
        "student_id": request.student_id,
        "item_type": request.item_type,
        "item_id": request.item_id,
    }
    await conn.execute(_TAKE_TURNS, about)
    return about


async def _has(conn: AsyncConnection, about: dict[str, object], now: datetime) -> str | None:
    today = await today_of(conn, str(about["student_id"]), now)
    return (await conn.execute(_HAS, {**about, "today": today})).scalar_one_or_none()


async def _insert(conn: AsyncConnection, order: PurchaseOrder, request: Request, now: datetime) -> str:
    start = {
        "purchase_id": order.purchase_id,
        "workflow_id": order.workflow_id,
        "payment_id": order.payment_id,
        "line": order.line,
        "student_id": order.student_id,
        "origin": order.origin,
        "now": now,
    }
    asked = {
        "purchase_id": order.purchase_id,
        "item_type": request.item_type,
        "item_id": request.item_id,
        "metadata": json.dumps(request.metadata),
        "supersede": request.supersede,
        "actor": request.actor,
        "reason": request.reason,
        "now": now,
    }
    await conn.execute(_START, start)
    await conn.execute(_REQUEST, asked)
    return order.purchase_id


def _unpaid(workflow_id: str, request: Request, origin: str) -> PurchaseOrder:
    return PurchaseOrder(purchase_id_of(workflow_id), workflow_id, "", 1, request.student_id, origin)
