"""Read and record what confirm_payment decides by; mark our row of a payment that was cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

from sqlalchemy import Engine, bindparam, text, update
from sqlmodel import col

from db import ledger
from db.engine import at_once
from db.rows import row_as
from db.tables import Payment
from domain.purchase import PurchaseOrder

# Raw: six tables in one round trip.
_FACTS: LiteralString = """
SELECT line.payment_id, payment.student_id, line.amount_minor, payment.currency, {metadata} AS metadata, start.event_metadata,
       student.timezone, asked.metadata AS request_metadata,
       ARRAY(SELECT day FROM holidays) AS holidays,
       EXISTS (SELECT FROM refunds WHERE refunds.payment_id = start.payment_id AND refunds.line = start.line
               AND refunds.status <> 'failed') AS refunded,
       kept.state, kept.result
FROM purchase_starts AS start
LEFT JOIN payment_lines AS line ON line.payment_id = start.payment_id AND line.line = start.line
LEFT JOIN payments AS payment ON payment.id = line.payment_id
LEFT JOIN purchase_requests AS asked ON asked.purchase_id = start.purchase_id
LEFT JOIN students AS student ON student.id = coalesce(payment.student_id, start.student_id)
LEFT JOIN purchase_steps AS kept
  ON kept.purchase_id = start.purchase_id AND kept.attempt = :attempt AND kept.step = 'confirm_payment'
WHERE start.purchase_id = :purchase_id
"""
_WHOLE = text(_FACTS.format(metadata="line.metadata"))
_WITHOUT_METADATA = text(_FACTS.format(metadata="CAST(NULL AS jsonb)"))
_CANCELLED = (
    update(Payment)
    .where(col(Payment.id) == bindparam("payment_id"), col(Payment.status) == "pending")
    .values({col(Payment.status): "failed"})
)


@dataclass(frozen=True)
class ConfirmationFacts:
    """A line's facts and the step's ledger row. `payment_id` None: there is no such payment line, or no payment, and so
    no `student_id`, `amount_minor`, `currency` and `metadata`. Stored `metadata` may not be an object: check it."""

    payment_id: str | None
    student_id: str | None
    amount_minor: int | None
    currency: str | None
    metadata: ledger.Json | None
    event_metadata: ledger.Json | None
    timezone: str | None
    request_metadata: ledger.Json | None
    holidays: list[date]
    refunded: bool
    state: str | None
    result: ledger.Json | None


def confirmation_facts(engine: Engine, order: PurchaseOrder, *, metadata: bool = True) -> ConfirmationFacts:
    """Read what confirm_payment decides by; without `metadata` the payment's is not read, and None."""
    query = _WHOLE if metadata else _WITHOUT_METADATA
    with at_once(engine) as connection:
        found = connection.execute(query, {"purchase_id": order.purchase_id, "attempt": order.attempt})
        return row_as(ConfirmationFacts, found)


def record_confirmation(engine: Engine, order: PurchaseOrder, settled: ledger.Json, now: datetime) -> ledger.Json:
    """Store what was settled: canonical fields, their sources, the session count, the first day (mission row C3)."""
    return ledger.do(engine, order, "confirm_payment", settled, now=now)


def refuse_confirmation(engine: Engine, order: PurchaseOrder, now: datetime) -> bool:
    """Make every later confirmation of this attempt fail; return whether one succeeded before."""
    return ledger.undo(engine, order, "confirm_payment", now=now).changed


def payment_cancelled(engine: Engine, order: PurchaseOrder) -> None:
    """Mark a pending payment, cancelled at the provider, as failed; any other stays (states never move backwards)."""
    with at_once(engine) as connection:
        connection.execute(_CANCELLED, {"payment_id": order.payment_id})
