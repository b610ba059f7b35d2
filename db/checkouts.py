"""Write the caller's key, the payment and its lines in one transaction at checkout, and the answer once there is one.

The payment is committed before the provider is asked for it, under an id that never changes, so that its state at the
provider can be looked up whatever happens. A request that works on a key holds it for LEASE; the key of a request that
died is free again after that.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from db.request_keys import KeyReused
from db.rows import rows_as
from db.tables import IdempotencyKey, Payment
from domain.pricing import Bill

Json = dict[str, Any]
LEASE = timedelta(seconds=30)  # more than the provider may take, twice
KEPT = timedelta(hours=72)  # how long a key repeats its answer; its payment stays

# Raw, as are those below that count in the database's time. A few at each checkout keep up with any number of them;
# whoever else is at one of these rows is not waited for.
_FORGET = text(
    """
    DELETE FROM idempotency_keys WHERE (actor, operation, key) IN
      (SELECT actor, operation, key FROM idempotency_keys WHERE created_at < now() - CAST(:kept AS interval)
       ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED)
    """
)
_CLAIM = text(
    """
    INSERT INTO idempotency_keys (actor, operation, key, request_hash, payment_id, taken_until, created_at)
    VALUES (:actor, :operation, :key, :request_hash, :payment_id, now() + :lease, now())
    ON CONFLICT (actor, operation, key) DO NOTHING RETURNING payment_id
    """
)
_READ = select(col(IdempotencyKey.payment_id), col(IdempotencyKey.request_hash), col(IdempotencyKey.answer)).where(
    col(IdempotencyKey.actor) == bindparam("actor"),
    col(IdempotencyKey.operation) == bindparam("operation"),
    col(IdempotencyKey.key) == bindparam("key"),
)
_TAKE_OVER = text(
    """
    UPDATE idempotency_keys SET taken_until = now() + :lease
     WHERE payment_id = :payment_id AND answer IS NULL AND taken_until <= now() RETURNING payment_id
    """
)
_PAYMENT = text(
    """
    INSERT INTO payments (id, student_id, status, amount_minor, currency, created_at)
    VALUES (:payment_id, :student_id, 'pending', :amount_minor, :currency, :now)
    """
)
# Raw: all lines in one statement.
_LINES = text(
    """
    INSERT INTO payment_lines (payment_id, line, item_type, item_id, amount_minor, coins, metadata)
    SELECT :payment_id, line, item_type, item_id, amount_minor, coins, metadata
      FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS bill
           (line integer, item_type text, item_id text, amount_minor bigint, coins bigint, metadata jsonb)
    """
)
# Raw: a payment with its lines, in one round trip.
_STORED = text(
    """
    SELECT payment.student_id, payment.amount_minor AS total_minor, payment.currency,
           line.line, line.item_type, line.item_id, line.amount_minor, line.coins, line.metadata
      FROM payments AS payment JOIN payment_lines AS line ON line.payment_id = payment.id
     WHERE payment.id = :payment_id ORDER BY line.line
    """
)
_ANSWERED = text("UPDATE idempotency_keys SET answer = CAST(:answer AS jsonb) WHERE payment_id = :payment_id")
_UPDATE_PENDING = (
    update(Payment)
    .where(col(Payment.id) == bindparam("payment_id"), col(Payment.status) == "pending")
    .values({col(Payment.status): bindparam("new_status")})
)
_LET_GO = text("UPDATE idempotency_keys SET taken_until = now() WHERE payment_id = :payment_id AND answer IS NULL")


@dataclass(frozen=True)
class Key:
    """A caller's idempotency key for an operation; `request_hash` is the hash of the request it came with."""

    actor: str
    operation: str
    key: str
    request_hash: str


@dataclass(frozen=True)
class Claim:
    """A key this request holds. `is_new`: its payment must be written in this transaction; `answer`: given before."""

    payment_id: str
    is_new: bool
    answer: Json | None = None


@dataclass(frozen=True)
class StoredLine:
    """One line of the payment as it was stored."""

    line: int
    item_type: str
    item_id: str
    amount_minor: int
    coins: int
    metadata: Json


@dataclass(frozen=True)
class _LineOfPayment(StoredLine):
    student_id: str
    total_minor: int
    currency: str


@dataclass(frozen=True)
class StoredPayment:
    """The payment as it was stored, priced once and for all."""

    payment_id: str
    student_id: str
    amount_minor: int
    currency: str
    lines: list[StoredLine]


class KeyInFlight(Exception):
    """Another request with this key is being answered right now."""


@asynccontextmanager
async def claiming(engine: AsyncEngine, key: Key, payment_id: str) -> AsyncGenerator[tuple[AsyncConnection, Claim]]:
    """Hold the key, for `payment_id` if the key is new; the block then writes the payment in the same transaction.

    A second caller waits for the first one's commit; it then finds that payment or, if the first one failed, is itself
    the first. Raises KeyReused, KeyInFlight.
    """
    values = {"actor": key.actor, "operation": key.operation, "key": key.key, "lease": LEASE}
    async with engine.begin() as conn:
        await conn.execute(_FORGET, {"kept": KEPT})
        said = {**values, "request_hash": key.request_hash, "payment_id": payment_id}
        if (await conn.execute(_CLAIM, said)).scalar_one_or_none():
            yield conn, Claim(payment_id, is_new=True)
            return
        payment_id, request_hash, answer = (await conn.execute(_READ, values)).one()
        if request_hash != key.request_hash:
            raise KeyReused
        if answer is None:
            taken = await conn.execute(_TAKE_OVER, {"payment_id": payment_id, "lease": LEASE})
            if taken.scalar_one_or_none() is None:
                raise KeyInFlight
        yield conn, Claim(payment_id, is_new=False, answer=answer)


async def store_payment(conn: AsyncConnection, payment_id: str, student_id: str, bill: Bill, now: datetime) -> None:
    """Insert the pending payment with its lines, numbered from 1 in the order of the bill."""
    lines = [{"line": number, **vars(line)} for number, line in enumerate(bill.lines, start=1)]
    values = {
        "payment_id": payment_id,
        "student_id": student_id,
        "amount_minor": bill.amount_minor,
        "currency": bill.currency,
        "now": now,
    }
    await conn.execute(_PAYMENT, values)
    await conn.execute(_LINES, {"payment_id": payment_id, "lines": json.dumps(lines)})


async def stored_payment(conn: AsyncConnection, payment_id: str) -> StoredPayment:
    """Read the payment stored under this id, with its lines in order."""
    rows = rows_as(_LineOfPayment, await conn.execute(_STORED, {"payment_id": payment_id}))
    lines = [
        StoredLine(row.line, row.item_type, row.item_id, row.amount_minor, row.coins, row.metadata) for row in rows
    ]
    return StoredPayment(payment_id, rows[0].student_id, rows[0].total_minor, rows[0].currency, lines)


async def record_answer(engine: AsyncEngine, payment_id: str, answer: Json, status: str) -> None:
    """Record the answer that the key repeats from now on; a pending payment takes the provider's `status`."""
    async with engine.begin() as conn:
        await conn.execute(_ANSWERED, {"payment_id": payment_id, "answer": json.dumps(answer)})
        await conn.execute(_UPDATE_PENDING, {"payment_id": payment_id, "new_status": status})


async def update_payment_status(engine: AsyncEngine, payment_id: str, status: str) -> bool:
    """Set a pending payment to the provider's status; return whether it was pending.

    Any other stays: states never move backwards (row 68).
    """
    async with engine.begin() as conn:
        done = await conn.execute(_UPDATE_PENDING, {"payment_id": payment_id, "new_status": status})
        return done.rowcount == 1


async def let_go(engine: AsyncEngine, payment_id: str) -> None:
    """Release the key, so that the next request with it goes on at once."""
    async with engine.begin() as conn:
        await conn.execute(_LET_GO, {"payment_id": payment_id})
