"""Read what a case file shows beside the purchase itself: its money, its events, and the acts of operators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import optional_row_as, rows_as
from db.tables import OperatorAct, Refund
from domain.ids import coins_key, event_key_of
from domain.refusals import PAGING

# Events that tell more than the step ledger does; their keys are `purchase:{id}:{type}`.
_EVENT_TYPES = ("PURCHASE_NEEDS_ATTENTION", "PURCHASE_ATTENTION_ESCALATED", "PURCHASE_COMPLETED", "PURCHASE_REFUNDED")


@dataclass(frozen=True)
class RefundTry:
    """One try to give money back. `status`: requested, succeeded, failed, settled_outside."""

    amount_minor: int
    status: str
    requested_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True)
class LineMoney:
    """A payment line: what it cost, how its payment stands, its coins.

    And the most that the provider was seen to have given back of it, by whomever.
    """

    amount_minor: int
    currency: str
    status: str
    given_back_minor: int
    coins: int
    coins_redeemed: int
    coins_given_back: int


@dataclass(frozen=True)
class Money(LineMoney):
    """The money of a payment line, with the tries to give it back."""

    refunds: list[RefundTry]


@dataclass(frozen=True)
class SentEvent:
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
    """The act that a request key names, and its outcome. `values` None: not kept (an older act)."""

    verb: str
    values: dict[str, Any] | None
    outcome: str


# Raw: one row of four tables, whichever of them know the line.
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
_REFUNDS = (
    select(col(Refund.amount_minor), col(Refund.status), col(Refund.requested_at), col(Refund.settled_at))
    .where(col(Refund.payment_id) == bindparam("payment_id"), col(Refund.line) == bindparam("line"))
    .order_by(col(Refund.number))
)
ACT = select(col(OperatorAct.verb), col(OperatorAct.given), col(OperatorAct.outcome)).where(
    col(OperatorAct.purchase_id) == bindparam("id"), col(OperatorAct.request_key) == bindparam("request_key")
)
_ACTS = (
    select(
        col(OperatorAct.request_key),
        col(OperatorAct.verb),
        col(OperatorAct.given),
        col(OperatorAct.actor),
        col(OperatorAct.second_actor),
        col(OperatorAct.reason),
        col(OperatorAct.before),
        col(OperatorAct.after),
        col(OperatorAct.outcome),
        col(OperatorAct.acted_at),
    )
    .where(col(OperatorAct.purchase_id) == bindparam("id"))
    .order_by(col(OperatorAct.acted_at), col(OperatorAct.request_key))
)
# Raw: what is asked of the event's JSON is taken out there.
_EVENTS = text(
    """
    SELECT type, data ->> 'code' AS code, coalesce(data -> 'skipped', '[]') AS skipped, occurred_at
      FROM outbox WHERE key = ANY(:keys) ORDER BY occurred_at, id
    """
)
# Raw: JSON is compared as JSON. An act of before has no values: its verb tells.
_DONE = text(
    """
    SELECT purchase_id FROM operator_acts
     WHERE purchase_id = ANY(:ids) AND request_key = ANY(:keys)
       AND verb = :verb AND coalesce(values, CAST(:values AS jsonb)) = CAST(:values AS jsonb)
    """
)


async def money_of(conn: AsyncConnection, payment_id: str | None, line: int) -> Money | None:
    """Return the line's money, None when the payment is not known here."""
    values: dict[str, object] = {"payment_id": payment_id, "line": line}
    values |= {movement: coins_key(payment_id or "", line, movement) for movement in ("redemption", "recredit")}
    money = optional_row_as(LineMoney, await conn.execute(_MONEY, values))
    if money is None:
        return None
    return Money(**vars(money), refunds=rows_as(RefundTry, await conn.execute(_REFUNDS, values)))


async def sent_events_of(conn: AsyncConnection, purchase_id: str) -> list[SentEvent]:
    """Return those events of the purchase that tell more than the step ledger does, in time order."""
    kinds = [*_EVENT_TYPES, *(f"{event}.{code}" for event in _EVENT_TYPES[:2] for code in PAGING)]
    keys = [event_key_of(purchase_id, kind) for kind in kinds]
    return rows_as(SentEvent, await conn.execute(_EVENTS, {"keys": keys}))


async def acts_of(conn: AsyncConnection, purchase_id: str) -> list[ActRow]:
    """Return the acts of operators on a purchase, in time order."""
    return rows_as(ActRow, await conn.execute(_ACTS, {"id": purchase_id}))


async def act_of(conn: AsyncConnection, purchase_id: str, request_key: str) -> KnownAct | None:
    """Return the act on record under this key, None if there is none."""
    return optional_row_as(KnownAct, await conn.execute(ACT, {"id": purchase_id, "request_key": request_key}))


async def acted_on(conn: AsyncConnection, keys: Mapping[str, str], verb: str, values: Mapping[str, Any]) -> set[str]:
    """Return the ids of the purchases that have this act on record; `keys` holds the request key by purchase id."""
    asked = {"ids": list(keys), "keys": list(keys.values()), "verb": verb, "values": json.dumps(values)}
    return set((await conn.execute(_DONE, asked)).scalars())
