"""What confirm_payment reads and records, and the refund's own row."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from sqlalchemy import Engine, Row, text

from db import ledger
from db.engine import at_once
from domain.purchase import PurchaseOrder

_FACTS: LiteralString = """
SELECT line.payment_id, payment.student_id, line.amount_minor, {metadata} AS metadata, start.event_metadata,
       student.timezone, asked.metadata AS request_metadata,
       ARRAY(SELECT day FROM holidays) AS holidays,
       EXISTS (SELECT FROM refunds WHERE refunds.payment_id = start.payment_id AND refunds.line = start.line) AS refunded,
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

# A refund that failed before is asked for again under its own id; one that succeeded stays so.
_REQUEST_REFUND = text("""
INSERT INTO refunds AS kept (id, payment_id, line, amount_minor, currency, status, requested_at)
VALUES (:id, :payment_id, :line, :amount_minor, :currency, 'requested', :now)
ON CONFLICT (payment_id, line) DO UPDATE
  SET status = CASE WHEN kept.status = 'failed' THEN 'requested' ELSE kept.status END
RETURNING amount_minor
""")

_LOCK_PAYMENT = text("SELECT FROM payments WHERE id = :payment_id FOR UPDATE")
_SETTLE_REFUND = text("""
UPDATE refunds SET status = 'succeeded', provider_id = coalesce(:provider_id, provider_id), settled_at = :now
WHERE payment_id = :payment_id AND line = :line AND status <> 'succeeded'
""")
_MARK_REFUNDED = text("""
WITH start AS (UPDATE purchase_starts SET refunded = true WHERE purchase_id = :purchase_id)
UPDATE payments SET status = CASE
  WHEN amount_minor <= (SELECT sum(amount_minor) FROM refunds WHERE payment_id = :payment_id AND status = 'succeeded')
  THEN 'refunded' ELSE 'partially_refunded' END
WHERE id = :payment_id
""")


def refund_id_of(order: PurchaseOrder) -> str:
    """The refund of a payment line, fixed before it is asked for and unchanged for life: the provider's key."""
    return f"refund:{order.payment_id}:{order.line}"


def confirmation_facts(engine: Engine, order: PurchaseOrder, *, metadata: bool = True) -> Row[Any]:
    """The line's facts and the step's ledger row; `payment_id` is None when there is no such payment line, or no payment.

    Without `metadata` the payment's is not touched, and None.
    """
    query = _WHOLE if metadata else _WITHOUT_METADATA
    with at_once(engine) as connection:
        return connection.execute(query, {"purchase_id": order.purchase_id, "attempt": order.attempt}).one()


def record_confirmation(engine: Engine, order: PurchaseOrder, settled: ledger.Json) -> ledger.Json:
    """Keep what was settled: canonical fields, their sources, the session count, the first day (mission row C3)."""
    return ledger.do(engine, order, "confirm_payment", settled)


def refuse_confirmation(engine: Engine, order: PurchaseOrder) -> None:
    """From now on no confirmation of this attempt succeeds, whether or not one did before."""
    ledger.undo(engine, order, "confirm_payment")


def refund_status(engine: Engine, order: PurchaseOrder) -> str | None:
    """requested, succeeded, failed; None when we never asked for a refund of this line."""
    query = text("SELECT status FROM refunds WHERE payment_id = :payment_id AND line = :line")
    with at_once(engine) as connection:
        return connection.execute(query, {"payment_id": order.payment_id, "line": order.line}).scalar_one_or_none()


def request_refund(engine: Engine, order: PurchaseOrder, amount_minor: int, currency: str, now: datetime) -> int:
    """Commit the refund's row before the provider is asked; answer the amount it has, the first one for good."""
    values = {
        "id": refund_id_of(order),
        "payment_id": order.payment_id,
        "line": order.line,
        "amount_minor": amount_minor,
        "currency": currency,
        "now": now,
    }
    with at_once(engine) as connection:
        return connection.execute(_REQUEST_REFUND, values).scalar_one()


def refund_succeeded(engine: Engine, order: PurchaseOrder, provider_id: str | None, now: datetime) -> None:
    """The money is back: refund, payment and start say so together. Lines of one payment take turns."""
    values = {
        "purchase_id": order.purchase_id,
        "payment_id": order.payment_id,
        "line": order.line,
        "provider_id": provider_id,
        "now": now,
    }
    with engine.begin() as connection:
        for statement in (_LOCK_PAYMENT, _SETTLE_REFUND, _MARK_REFUNDED):
            connection.execute(statement, values)


def refund_failed(engine: Engine, order: PurchaseOrder) -> None:
    """The provider said no; a failed refund never shows as refunded (invariant I3)."""
    statement = text(
        "UPDATE refunds SET status = 'failed' WHERE payment_id = :payment_id AND line = :line AND status = 'requested'"
    )
    with at_once(engine) as connection:
        connection.execute(statement, {"payment_id": order.payment_id, "line": order.line})


def payment_cancelled(engine: Engine, order: PurchaseOrder) -> None:
    """A pending payment was cancelled at the provider; any other state stays (states never move backwards)."""
    statement = text("UPDATE payments SET status = 'failed' WHERE id = :payment_id AND status = 'pending'")
    with at_once(engine) as connection:
        connection.execute(statement, {"payment_id": order.payment_id})
