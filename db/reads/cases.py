"""What a case file tells beside the purchase itself: its money, what others were told, and the acts of operators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import coins_key, event_key_of
from domain.refusals import PAGING

# Events that tell more than the step ledger does; their keys are `purchase:{id}:{type}`.
_TOLD = ("PURCHASE_NEEDS_ATTENTION", "PURCHASE_ATTENTION_ESCALATED", "PURCHASE_COMPLETED", "PURCHASE_REFUNDED")


@dataclass(frozen=True)
class RefundTry:
    """One try to give money back. `status`: requested, succeeded, failed, settled_outside."""

    amount_minor: int
    status: str
    requested_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True)
class Money:
    """A payment line: what it cost, how its payment stands, the tries to give it back, its coins; and the most that the
    provider was seen to have given back of it, by whomever."""

    amount_minor: int
    currency: str
    status: str
    given_back_minor: int
    coins: int
    coins_redeemed: int
    coins_given_back: int
    refunds: list[RefundTry]


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
    values: dict[str, Any] | None  # acts of before have none
    actor: str
    second_actor: str | None
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    acted_at: datetime


@dataclass(frozen=True)
class KnownAct:
    """What a request key names, and what came of it. `values` None: not kept (an act of before)."""

    verb: str
    values: dict[str, Any] | None
    outcome: str


_MONEY = text(
    """
    SELECT coalesce(l.amount_minor, 0) AS amount_minor, p.currency, p.status,
           coalesce(l.given_back_minor, 0) AS given_back_minor,
           coalesce(l.coins, 0) AS coins, -coalesce(taken.coins, 0) AS coins_redeemed,
           coalesce(back.coins, 0) AS coins_given_back
      FROM payments p
      LEFT JOIN payment_lines l ON l.payment_id = p.id AND l.line = :line
      LEFT JOIN coin_movements taken ON taken.key = :redemption
      LEFT JOIN coin_movements back ON back.key = :recredit
     WHERE p.id = :payment_id
    """
)
_REFUNDS = text(
    """
    SELECT amount_minor, status, requested_at, settled_at FROM refunds
     WHERE payment_id = :payment_id AND line = :line ORDER BY number
    """
)
_EVENTS = text(
    """
    SELECT type, data ->> 'code' AS code, coalesce(data -> 'skipped', '[]') AS skipped, occurred_at
      FROM outbox WHERE key = ANY(:keys) ORDER BY occurred_at, id
    """
)
# An act of before has no values: its verb tells.
_DONE = text(
    """
    SELECT purchase_id FROM operator_acts
     WHERE purchase_id = ANY(:ids) AND request_key = ANY(:keys)
       AND verb = :verb AND coalesce(values, CAST(:values AS jsonb)) = CAST(:values AS jsonb)
    """
)
_ACT = text("SELECT verb, values, outcome FROM operator_acts WHERE purchase_id = :id AND request_key = :request_key")
_ACTS = text(
    """
    SELECT request_key, verb, values, actor, second_actor, reason, before, after, outcome, acted_at
      FROM operator_acts WHERE purchase_id = :id ORDER BY acted_at, request_key
    """
)


async def money_of(conn: AsyncConnection, payment_id: str | None, line: int) -> Money | None:
    """The line's money; None when the payment is not known here."""
    values: dict[str, object] = {"payment_id": payment_id, "line": line}
    values |= {movement: coins_key(payment_id or "", line, movement) for movement in ("redemption", "recredit")}
    row = (await conn.execute(_MONEY, values)).mappings().one_or_none()
    if row is None:
        return None
    return Money(**row, refunds=[RefundTry(**each) for each in (await conn.execute(_REFUNDS, values)).mappings()])


async def told_of(conn: AsyncConnection, purchase_id: str) -> list[Told]:
    """What others were told of the purchase, in time order."""
    kinds = [*_TOLD, *(f"{event}.{code}" for event in _TOLD[:2] for code in PAGING)]
    keys = [event_key_of(purchase_id, kind) for kind in kinds]
    return [Told(**row) for row in (await conn.execute(_EVENTS, {"keys": keys})).mappings()]


async def acts_of(conn: AsyncConnection, purchase_id: str) -> list[ActRow]:
    """The audit of a purchase, in time order."""
    return [ActRow(**row) for row in (await conn.execute(_ACTS, {"id": purchase_id})).mappings()]


async def act_of(conn: AsyncConnection, purchase_id: str, request_key: str) -> KnownAct | None:
    """The act on record under this key, None if there is none."""
    row = (await conn.execute(_ACT, {"id": purchase_id, "request_key": request_key})).mappings().one_or_none()
    return KnownAct(**row) if row else None


async def acted_on(conn: AsyncConnection, keys: Mapping[str, str], verb: str, values: Mapping[str, Any]) -> set[str]:
    """Which of these purchases have this act on record under their key; `keys` by purchase id."""
    asked = {"ids": list(keys), "keys": list(keys.values()), "verb": verb, "values": json.dumps(values)}
    return set((await conn.execute(_DONE, asked)).scalars())
