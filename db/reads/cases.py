"""What a case file tells beside the purchase itself: its money, what others were told, and the acts of operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.purchase import coins_key

# Events that tell more than the step ledger does; their keys are `purchase:{id}:{type}`.
_TOLD = ("PURCHASE_NEEDS_ATTENTION", "PURCHASE_ATTENTION_ESCALATED", "PURCHASE_COMPLETED", "PURCHASE_REFUNDED")


@dataclass(frozen=True)
class Money:
    """A payment line: what it cost, how its payment stands, and what is on its way back or given back; its coins."""

    amount_minor: int
    currency: str
    status: str
    refund_minor: int | None
    refund_status: str | None
    refund_requested_at: datetime | None
    refund_settled_at: datetime | None
    coins: int
    coins_redeemed: int
    coins_given_back: int


@dataclass(frozen=True)
class Told:
    """An event of the outbox."""

    type: str
    code: str | None
    skipped: list[str]
    occurred_at: datetime


@dataclass(frozen=True)
class ActRow:
    """A row of the audit: who did what and why, how things stood before, what came of it."""

    request_key: str
    verb: str
    actor: str
    second_actor: str | None
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    acted_at: datetime


_MONEY = text(
    """
    SELECT coalesce(l.amount_minor, 0) AS amount_minor, p.currency, p.status, r.amount_minor AS refund_minor,
           r.status AS refund_status, r.requested_at AS refund_requested_at, r.settled_at AS refund_settled_at,
           coalesce(l.coins, 0) AS coins, -coalesce(taken.coins, 0) AS coins_redeemed,
           coalesce(back.coins, 0) AS coins_given_back
      FROM payments p
      LEFT JOIN payment_lines l ON l.payment_id = p.id AND l.line = :line
      LEFT JOIN refunds r ON r.payment_id = p.id AND r.line = :line
      LEFT JOIN coin_movements taken ON taken.key = :redemption
      LEFT JOIN coin_movements back ON back.key = :recredit
     WHERE p.id = :payment_id
    """
)
_EVENTS = text(
    """
    SELECT type, data ->> 'code' AS code, coalesce(data -> 'skipped', '[]') AS skipped, occurred_at
      FROM outbox WHERE key = ANY(:keys) ORDER BY occurred_at, id
    """
)
_DONE = text("SELECT purchase_id FROM operator_acts WHERE purchase_id = ANY(:ids) AND request_key = ANY(:keys)")
_ACTS = text(
    """
    SELECT request_key, verb, actor, second_actor, reason, before, after, outcome, acted_at
      FROM operator_acts WHERE purchase_id = :id ORDER BY acted_at, request_key
    """
)


async def money_of(conn: AsyncConnection, payment_id: str | None, line: int) -> Money | None:
    """The line's money; None when the payment is not known here."""
    values: dict[str, object] = {"payment_id": payment_id, "line": line}
    values |= {movement: coins_key(payment_id or "", line, movement) for movement in ("redemption", "recredit")}
    row = (await conn.execute(_MONEY, values)).mappings().one_or_none()
    return Money(**row) if row else None


async def told_of(conn: AsyncConnection, purchase_id: str) -> list[Told]:
    """What others were told of the purchase, in time order."""
    keys = [f"purchase:{purchase_id}:{event}" for event in _TOLD]
    return [Told(**row) for row in (await conn.execute(_EVENTS, {"keys": keys})).mappings()]


async def acts_of(conn: AsyncConnection, purchase_id: str) -> list[ActRow]:
    """The audit of a purchase, in time order."""
    return [ActRow(**row) for row in (await conn.execute(_ACTS, {"id": purchase_id})).mappings()]


async def acted_on(conn: AsyncConnection, keys: Mapping[str, str]) -> set[str]:
    """Which of these purchases have the act of their key on record; `keys` by purchase id."""
    rows = await conn.execute(_DONE, {"ids": list(keys), "keys": list(keys.values())})
    return set(rows.scalars())
