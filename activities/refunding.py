"""Refund a line by comparing amounts: what is owed, what the provider has refunded, what is still due.

Owed is the decided share of what the provider holds at the first look, stored from then on; what others refund by hand
after that counts towards it. Each try has a row and an id of its own, committed before the provider is asked and looked
up under that id ever after, so a refund by others is never taken for ours.

Nothing is refunded only in these cases: there is no payment; the provider does not know the payment or the line, and it
was neither confirmed nor paid by our own row; it is another student's; it failed, or was pending and is cancelled here;
the line cost nothing; the provider holds nothing of it, or nothing is owed. Whatever contradicts what was confirmed
before is trouble: REFUND_UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine

from db.effects import payment as effects
from db.effects import refunds
from db.effects.refund_amount import refund_choice
from db.effects.refunds import Debt, Refund
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from gateways.payments import PaymentProvider, ProviderPayment, ProviderRefund, ProviderRefused, ProviderTrouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()
REFUNDED = Undone(changed=True, refunded=True)
NOTHING = Undone(changed=False)


class MoneyUnaccounted(Exception):
    """The provider's answer contradicts what was confirmed before. Trouble: tried again, and somebody has to look."""


class Refunding:
    """The refund of a line. Its answer's `refunded`: this purchase sent money back, or an operator says so."""

    def __init__(self, engine: Engine, provider: PaymentProvider, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._provider = provider
        self._clock = clock

    def refund(self, order: PurchaseOrder) -> Undone:
        """Refund what is owed; errors as in PaymentActivities.refund_payment."""
        confirmed = effects.refuse_confirmation(self._engine, order, self._clock())
        if not order.payment_id:
            return NOTHING
        last = refunds.last(self._engine, order)
        if last and last.settled:
            refunds.mark_refunded(self._engine, order)
            return REFUNDED
        debt = refunds.debt(self._engine, order, confirmed=confirmed)
        choice = refund_choice(self._engine, order, self._clock())
        if choice.settled_outside:
            refunds.settle_outside(self._engine, order, last, debt, choice, self._clock())
            log.info("refund_settled_outside", payment_id=order.payment_id, workflow_id=order.workflow_id)
            return REFUNDED
        paid, was_pending = self._money_taken(order, debt, confirmed or last is not None)
        if paid is None:
            return NOTHING
        settled_at = debt.settled_at_minor
        if settled_at is None:
            # Whoever decided to keep the money of a pending payment did not know that there would be any.
            came_late, held = was_pending or not debt.known_paid, paid.held(order.line)
            owed = held if came_late else choice.owed(held)
            settled_at = refunds.owe(self._engine, order, _given(paid, order) + owed)
        return self._compare(order, paid, settled_at)

    def _compare(self, order: PurchaseOrder, paid: ProviderPayment, settled_at: int) -> Undone:
        """Give back what the provider has not given yet, until it has given `settled_at` in all."""
        given = _given(paid, order)
        refunds.seen(self._engine, order, given)
        # Read after the provider: the row of whatever we gave back, in another call too, is there by then.
        last = refunds.last(self._engine, order)
        if last and last.settled:
            return REFUNDED
        if last and last.open and (found := self._provider.find_refund(last.id, order.payment_id)):
            return self._came_of(order, last, found)
        if last and last.open and given != last.given_before_minor:
            refunds.failed(self._engine, last, self._clock())  # by hand, and the provider knows nothing of ours
        due = min(settled_at - given, paid.held(order.line))
        if due <= 0:
            kept = paid.held(order.line)
            log.info("payment_line_kept", payment_id=order.payment_id, workflow_id=order.workflow_id, kept_minor=kept)
            return Undone(changed=kept > 0)
        if not (last and last.open and given == last.given_before_minor):
            last = refunds.request(self._engine, order, last, due, paid.currency, given, self._clock())
        if last.settled:  # by another call that was quicker
            return REFUNDED
        return self._ask(order, last, settled_at)

    def _ask(self, order: PurchaseOrder, refund: Refund, settled_at: int) -> Undone:
        try:
            found = self._provider.refund(refund.id, order.payment_id, order.line, refund.amount_minor)
        except ProviderRefused as refusal:
            refunds.failed(self._engine, refund, self._clock())
            # Somebody gave back by hand between our look and our ask, if the provider holds less by now.
            now = self._provider.get(order.payment_id) if refusal.code == "amount_too_large" else None
            if now and _given(now, order) > refund.given_before_minor:
                return self._compare(order, now, settled_at)
            raise Refused("REFUND_FAILED", f"the provider refused the refund: {refusal.code}") from refusal
        return self._came_of(order, refund, found)

    def _came_of(self, order: PurchaseOrder, refund: Refund, found: ProviderRefund) -> Undone:
        """The provider's word on this try."""
        said = (found.payment_id, found.line, found.amount_minor, found.currency)
        if said != (order.payment_id, order.line, refund.amount_minor, refund.currency):
            raise ProviderTrouble(f"the payment provider answered about another refund than {refund.id}")
        if found.status == "failed":
            refunds.failed(self._engine, refund, self._clock())
            raise Refused("REFUND_FAILED", "the provider could not give the money back")
        if found.status != "succeeded":
            raise ProviderTrouble(f"the refund is {found.status} at the payment provider")
        refunds.succeeded(self._engine, order, refund, found.id, self._clock())
        log.info("payment_line_refunded", payment_id=order.payment_id, line=order.line, workflow_id=order.workflow_id)
        return REFUNDED

    def _money_taken(self, order: PurchaseOrder, debt: Debt, was_held: bool) -> tuple[ProviderPayment | None, bool]:
        """The payment as the provider knows it, no longer pending; None when nothing of it is this student's money.

        And whether it was pending until now. `was_held`: the provider has said before that it holds its money.
        """
        paid = self._provider.get(order.payment_id)
        was_pending = paid is not None and paid.status == "pending" and paid.student_id == order.student_id
        if was_pending and not was_held:
            paid = self._provider.cancel(order.payment_id)
            if paid.status == "pending":
                raise ProviderTrouble("the payment is still pending after it was cancelled at the payment provider")
            if paid.status == "failed":
                effects.payment_cancelled(self._engine, order)
        line = paid and paid.line(order.line)
        if paid is None or line is None:
            if was_held or debt.known_paid:
                raise MoneyUnaccounted("it was paid, and the payment provider does not know it, or its line, any more")
            return None, False
        if paid.student_id == order.student_id and paid.status not in ("pending", "failed"):
            if debt.cost_minor is not None and (line.amount_minor, paid.currency) != (debt.cost_minor, debt.currency):
                raise MoneyUnaccounted(
                    "the payment provider names another amount or currency than the line was sold for"
                )
            return paid, was_pending
        if was_held:
            raise MoneyUnaccounted(f"it was paid; the payment provider says now: {paid.status}, or another student's")
        return None, False


def _given(paid: ProviderPayment, order: PurchaseOrder) -> int:
    """What the provider has given back of the line: all of it once the payment is refunded."""
    line = paid.line(order.line)
    if line is None:
        return 0
    return line.amount_minor if paid.status == "refunded" else line.refunded_minor
