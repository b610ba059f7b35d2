"""Tries to give a line's money back, a row each: committed before the provider is asked, amounts never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, bindparam, select, text, update
from sqlmodel import col

from db.effects.refund_amount import RefundChoice
from db.engine import at_once
from db.rows import optional_row_as, row_as
from db.tables import Refund as RefundRow
from domain.ids import refund_id_of
from domain.purchase import PurchaseOrder

_LAST = (
    select(
        col(RefundRow.id),
        col(RefundRow.number),
        col(RefundRow.amount_minor),
        col(RefundRow.currency),
        col(RefundRow.status),
        col(RefundRow.given_before_minor),
    )
    .where(col(RefundRow.payment_id) == bindparam("payment_id"), col(RefundRow.line) == bindparam("line"))
    .order_by(col(RefundRow.number).desc())
    .limit(1)
)
_FAILED = (
    update(RefundRow)
    .where(col(RefundRow.id) == bindparam("refund"), col(RefundRow.status) == "requested")
    .values({col(RefundRow.status): "failed", col(RefundRow.settled_at): bindparam("now")})
)
# Raw, as are those below that are given one set of values: they follow each other in one transaction.
_REQUEST = text("""
INSERT INTO refunds (id, payment_id, line, amount_minor, currency, status, requested_at, number, given_before_minor)
VALUES (:id, :payment_id, :line, :amount, :currency, 'requested', :now, :number, :given) ON CONFLICT DO NOTHING
""")

_LOCK_PAYMENT = text("SELECT FROM payments WHERE id = :payment_id FOR UPDATE")
_SUCCEEDED = text("""
UPDATE refunds SET status = 'succeeded', provider_id = :provider_id, settled_at = :now
WHERE id = :id AND status IN ('requested', 'failed')
""")
_SEEN = text("""
UPDATE payment_lines SET given_back_minor = :given
WHERE payment_id = :payment_id AND line = :line AND given_back_minor < :given
""")
_REFUNDED = text("UPDATE purchase_starts SET refunded = true WHERE purchase_id = :purchase_id AND refunded IS NOT TRUE")
# States never move backwards: what was given back whole, by whomever, stays so.
_PAYMENT_FOLLOWS = text("""
UPDATE payments SET status = CASE
  WHEN status = 'refunded'
    OR amount_minor <= (SELECT sum(amount_minor) FROM refunds WHERE payment_id = :payment_id AND status = 'succeeded')
    OR amount_minor <= (SELECT sum(given_back_minor) FROM payment_lines WHERE payment_id = :payment_id)
  THEN 'refunded' ELSE 'partially_refunded' END
WHERE id = :payment_id
""")

# Raw: whether there is a payment or a try is seen in the same statement. Where a version before this one had begun, its
# last try says what is owed.
_OWED = text("""
INSERT INTO refund_debts (purchase_id, attempt, known_paid, settled_at_minor)
SELECT :purchase_id, :attempt, :confirmed OR last.number IS NOT NULL OR coalesce(payment.status NOT IN ('pending', 'failed'), false),
       last.given_before_minor + last.amount_minor
FROM (SELECT) AS always
LEFT JOIN payments AS payment ON payment.id = :payment_id
LEFT JOIN (SELECT * FROM refunds WHERE payment_id = :payment_id AND line = :line ORDER BY number DESC LIMIT 1) AS last ON true
ON CONFLICT DO NOTHING
""")
_DEBT = text("""
SELECT debt.known_paid, debt.settled_at_minor, line.amount_minor AS cost_minor, coalesce(line.given_back_minor, 0) AS given_back_minor,
       payment.currency
FROM refund_debts AS debt
LEFT JOIN payment_lines AS line ON line.payment_id = :payment_id AND line.line = :line
LEFT JOIN payments AS payment ON payment.id = line.payment_id
WHERE debt.purchase_id = :purchase_id AND debt.attempt = :attempt
""")
_OWE = text("""
UPDATE refund_debts SET settled_at_minor = :settled_at
WHERE purchase_id = :purchase_id AND attempt = :attempt AND settled_at_minor IS NULL
""")
_OPEN_SETTLED_OUTSIDE = text("""
UPDATE refunds SET status = 'settled_outside', settled_at = :now
WHERE payment_id = :payment_id AND line = :line AND status = 'requested'
""")
_SETTLED_OUTSIDE = text("""
INSERT INTO refunds (id, payment_id, line, amount_minor, currency, status, requested_at, settled_at, number)
VALUES (:id, :payment_id, :line, :amount, :currency, 'settled_outside', :now, :now, :number) ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True)
class Debt:
    """What of the line is owed, fixed once per attempt, in minor units.

    `settled_at_minor`: what the provider has given back in all when nothing is owed any more; None before its first
    answer. `known_paid`: its money was known of before. `cost_minor` and `currency`: our own row's, None without one;
    `given_back_minor`: what the provider was last seen to have given back.
    """

    known_paid: bool
    settled_at_minor: int | None
    cost_minor: int | None
    given_back_minor: int
    currency: str | None


@dataclass(frozen=True)
class Refund:
    """One try. `status`: requested, succeeded, failed, settled_outside; `given_before_minor`: what the provider had
    given back of the line when the try was made."""

    id: str
    number: int
    amount_minor: int
    currency: str
    status: str
    given_before_minor: int

    @property
    def settled(self) -> bool:
        """Whether the money is back, so that this was the last try."""
        return self.status in ("succeeded", "settled_outside")

    @property
    def open(self) -> bool:
        """Whether the provider is asked, or about to be."""
        return self.status == "requested"


def debt(engine: Engine, order: PurchaseOrder, *, confirmed: bool) -> Debt:
    """Commit, before the provider is asked, that the money is asked back; return what is owed as far as it is fixed."""
    values = {**_line(order), **_attempt(order), "confirmed": confirmed}
    with at_once(engine) as connection:
        connection.execute(_OWED, values)
        return row_as(Debt, connection.execute(_DEBT, values))


def owe(engine: Engine, order: PurchaseOrder, settled_at: int) -> int:
    """Fix the total given back, in minor units, at which nothing is owed any more; return the one fixed first."""
    values = {**_line(order), **_attempt(order), "settled_at": settled_at}
    with at_once(engine) as connection:
        connection.execute(_OWE, values)
        settled_at_minor = row_as(Debt, connection.execute(_DEBT, values)).settled_at_minor
    assert settled_at_minor is not None, "it was said before, or by the statement above"
    return settled_at_minor


def last(engine: Engine, order: PurchaseOrder) -> Refund | None:
    """Return the newest try of the line, None when there was none."""
    with at_once(engine) as connection:
        return optional_row_as(Refund, connection.execute(_LAST, _line(order)))


def request(
    engine: Engine, order: PurchaseOrder, before: Refund | None, amount: int, currency: str, given: int, now: datetime
) -> Refund:
    """Commit the try that follows `before` and return it; if another call was quicker, return that one's."""
    number = before.number + 1 if before else 1
    values = {
        **_line(order), "id": refund_id_of(order.payment_id, order.line, number), "number": number, "amount": amount, "currency": currency,
        "given": given, "now": now,
    }  # fmt: skip
    with at_once(engine) as connection:
        connection.execute(_REQUEST, values)
        return row_as(Refund, connection.execute(_LAST, _line(order)))


def succeeded(engine: Engine, order: PurchaseOrder, refund: Refund, provider_id: str, now: datetime) -> None:
    """Record in refund, line, payment and start together that the money is back. Lines of one payment take turns."""
    values = {
        **_line(order), "purchase_id": order.purchase_id, "id": refund.id, "provider_id": provider_id, "now": now,
        "given": refund.given_before_minor + refund.amount_minor,
    }  # fmt: skip
    with engine.begin() as connection:
        for statement in (_LOCK_PAYMENT, _SUCCEEDED, _SEEN, _REFUNDED, _PAYMENT_FOLLOWS):
            connection.execute(statement, values)


def failed(engine: Engine, refund: Refund, now: datetime) -> None:
    """Mark a try that the provider did not carry out as failed: it never shows as refunded (invariant I3)."""
    with at_once(engine) as connection:
        connection.execute(_FAILED, {"refund": refund.id, "now": now})


def seen(engine: Engine, order: PurchaseOrder, given: int) -> None:
    """Store how much of the line the provider says it has given back, by whomever; the payment's row follows."""
    if not given:
        return
    values = {**_line(order), "given": given}
    with engine.begin() as connection:
        connection.execute(_LOCK_PAYMENT, values)
        if connection.execute(_SEEN, values).rowcount:
            connection.execute(_PAYMENT_FOLLOWS, values)


def settle_outside(
    engine: Engine, order: PurchaseOrder, before: Refund | None, debt: Debt, choice: RefundChoice, now: datetime
) -> None:
    """Count what is still owed of the line as given back outside the provider, by the open try or by a new row."""
    values = {**_line(order), "purchase_id": order.purchase_id, "now": now}
    with engine.begin() as connection:
        connection.execute(_REFUNDED, values)
        if connection.execute(_OPEN_SETTLED_OUTSIDE, values).rowcount:
            return
        owed = _owed(debt, choice)
        if owed > 0:
            number = before.number + 1 if before else 1
            new = {
                "id": refund_id_of(order.payment_id, order.line, number),
                "number": number,
                "amount": owed,
                "currency": debt.currency,
            }
            connection.execute(_SETTLED_OUTSIDE, values | new)


def _owed(debt: Debt, choice: RefundChoice) -> int:
    """Return what is left to give back, in minor units, as far as is known."""
    if debt.cost_minor is None:
        return 0
    if debt.settled_at_minor is not None:
        return debt.settled_at_minor - debt.given_back_minor
    return choice.owed(debt.cost_minor - debt.given_back_minor)


def mark_refunded(engine: Engine, order: PurchaseOrder) -> None:
    """Mark the start as refunded, even if it was begun anew since."""
    with at_once(engine) as connection:
        connection.execute(_REFUNDED, {"purchase_id": order.purchase_id})


def _attempt(order: PurchaseOrder) -> dict[str, object]:
    return {"purchase_id": order.purchase_id, "attempt": order.attempt}


def _line(order: PurchaseOrder) -> dict[str, object]:
    return {"payment_id": order.payment_id, "line": order.line}
