"""Confirm that a line is paid; give its money back. The provider is asked, the ledger only remembers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from temporalio import activity

from db import ledger
from db.effects import payment as effects
from db.effects.refund_choice import refund_choice
from domain.metadata import Merged, merge, wanted_lessons
from domain.money import owed_back
from domain.purchase import PaymentConfirmed, PurchaseOrder, Undone
from domain.refusals import Refused
from domain.schedule import first_day, start_warning
from domain.session_count import resolve_session_count
from gateways.payments import PaymentProvider, ProviderPayment, ProviderRefused

log: structlog.stdlib.BoundLogger = structlog.get_logger()
PAID = ("succeeded", "partially_refunded")
_UNREAD = "the payment's metadata could not be read: what the event says of it is used instead"
# Of reading the payment's metadata, before a purchase that an event started goes on without (mission row 23).
_TRIES = 3


class MetadataUnreadable(Exception):
    """What stands as the payment's metadata is no object: trouble, somebody has to mend it."""


class PaymentActivities:
    """confirm_payment and its undo, refund_payment (mission rows 21, 22, 68, 75)."""

    def __init__(self, engine: Engine, provider: PaymentProvider, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._provider = provider
        self._clock = clock

    @activity.defn(name="confirm_payment", no_thread_cancel_exception=True)
    def confirm_payment(self, order: PurchaseOrder) -> PaymentConfirmed:
        """Settle for good: this student's line is paid, and how many lessons it bought.

        Raises PAYMENT_NOT_FOUND, PAYMENT_OWNER_MISMATCH, PAYMENT_PENDING, PAYMENT_NOT_SUCCEEDED, in this order;
        ALREADY_MADE_WHOLE after refund_payment. A line counts as paid while the payment is succeeded or partially
        refunded and this line has no refund (spec section 10). Without a payment there is nothing to pay: what the
        door was asked for is settled. When the payment's metadata cannot be read, a purchase that an event started goes
        on with the event's after three tries; any other waits (mission row 23).
        """
        facts = self._facts(order)
        settled = ledger.answered(facts.state, facts.result)
        if settled is None:
            if order.payment_id:
                self._require_paid(order, facts)
            settled = effects.record_confirmation(self._engine, order, self._settle(facts))
        log.info(
            "payment_confirmed",
            payment_id=order.payment_id,
            workflow_id=order.workflow_id,
            session_count=settled["sessionCount"],
            session_count_source=settled["source"],
        )
        return PaymentConfirmed(settled["sessionCount"], settled["source"], settled["amountMinor"])

    @activity.defn(name="refund_payment", no_thread_cancel_exception=True)
    def refund_payment(self, order: PurchaseOrder) -> Undone:
        """Give this line's money back if it was taken from this student, whether or not confirm ever finished.

        Asks the provider what is true. Not this student's, unknown or failed: nothing. Pending: cancelled at the
        provider; if it had succeeded after all, refunded. How much: all of it, unless an operator's cancel said
        `undelivered` (the share of the lessons not given) or `none` (it is kept); the first amount asked for stands.
        Raises REFUND_FAILED when the provider refuses; anything else is trouble, tried again under the same refund id.
        """
        effects.refuse_confirmation(self._engine, order)
        if not order.payment_id:
            return Undone(changed=False)
        status = effects.refund_status(self._engine, order)
        if status == "succeeded":
            return Undone(changed=True, refunded=True)
        paid, came_late = self._money_taken(order)
        line = paid and paid.line(order.line)
        if paid is None or line is None or line.amount_minor == 0:
            return Undone(changed=False)
        if line.refunded_minor:
            # Ours, then its row was there before the provider knew of it; else somebody else's doing.
            ours = effects.refund_status(self._engine, order) is not None
            return self._refunded(order, None) if ours else Undone(changed=False)
        if paid.status not in PAID:
            return Undone(changed=False)
        # Whoever decided to keep the money of a pending payment did not know that there would be any.
        amount = line.amount_minor if came_late else self._owed(order, line.amount_minor)
        if amount == 0 and status is None:
            log.info("payment_line_kept", payment_id=order.payment_id, line=order.line, workflow_id=order.workflow_id)
            return Undone(changed=True)
        return self._refund(order, amount or line.amount_minor, paid.currency)

    def _facts(self, order: PurchaseOrder) -> Any:
        """The facts; `metadata` is None only when it could not be read and the event's is to be used."""
        try:
            facts = effects.confirmation_facts(self._engine, order)
            if isinstance(facts.metadata, dict) or facts.payment_id is None or facts.state is not None:
                return facts
            raise MetadataUnreadable(f"the metadata of payment {order.payment_id}, line {order.line}, is no object")
        except (MetadataUnreadable, DBAPIError) as trouble:
            if order.origin != "event" or activity.info().attempt < _TRIES:
                raise
            facts = effects.confirmation_facts(self._engine, order, metadata=False)
            if facts.event_metadata is None:
                raise
            log.warning(
                "payment_metadata_unreadable",
                payment_id=order.payment_id,
                workflow_id=order.workflow_id,
                step="confirm_payment",
                attempt=activity.info().attempt,
                error=type(trouble).__name__,
            )
            return facts

    def _require_paid(self, order: PurchaseOrder, facts: Any) -> None:
        if facts.payment_id is None:
            raise Refused("PAYMENT_NOT_FOUND", f"there is no line {order.line} of payment {order.payment_id}")
        if facts.student_id != order.student_id:
            raise Refused("PAYMENT_OWNER_MISMATCH", f"payment {order.payment_id} is not this student's")
        paid = self._provider.get(order.payment_id)
        line = paid and paid.line(order.line)
        if paid is None or line is None:
            raise Refused("PAYMENT_NOT_FOUND", f"the provider knows no line {order.line} of payment {order.payment_id}")
        if paid.student_id != order.student_id:
            raise Refused("PAYMENT_OWNER_MISMATCH", f"payment {order.payment_id} is not this student's")
        if paid.status == "pending":
            raise Refused("PAYMENT_PENDING", f"payment {order.payment_id} is still pending")
        if paid.status not in PAID or line.refunded_minor or facts.refunded:
            what = "this line was refunded" if paid.status in PAID else f"it is {paid.status}"
            raise Refused("PAYMENT_NOT_SUCCEEDED", f"payment {order.payment_id} does not count as paid: {what}")

    def _settle(self, facts: Any) -> ledger.Json:
        merged = merge(
            payment=facts.metadata,
            event=facts.event_metadata,
            request=facts.request_metadata,
            request_wins=facts.payment_id is None,
        )
        count = resolve_session_count(merged.fields)
        starts, moved = self._first_day(merged, facts)
        unread = _UNREAD if facts.payment_id and facts.metadata is None else None
        warnings = [*merged.warnings, *(said for said in (unread, count.warning, moved) if said)]
        return {
            # Not by field: all of it is the event's, until the payment's is read and laid over it.
            **({"metadataSource": "event"} if unread else {}),
            "fields": merged.fields,
            "sources": merged.sources,
            "extras": merged.extras,
            "warnings": warnings,
            "sessionCount": count.count,
            "source": count.source,
            "amountMinor": facts.amount_minor or 0,
            "seriesStart": starts,
        }

    def _first_day(self, merged: Merged, facts: Any) -> tuple[str | None, str | None]:
        """The day of lesson 1, decided once, and what to say of it; neither without a profile or a usable plan."""
        if facts.timezone is None:
            return None, None
        try:
            wanted = wanted_lessons(merged.fields)
            first, moved = first_day(wanted, facts.timezone, self._clock(), facts.holidays)
        except Refused:
            return None, None  # the step that needs the plan refuses, with what is missing
        return first.isoformat(), start_warning(wanted, first, moved)

    def _money_taken(self, order: PurchaseOrder) -> tuple[ProviderPayment | None, bool]:
        """The payment as the provider knows it, no longer pending; None if it is not there or not this student's.

        And whether it was pending until now.
        """
        paid = self._provider.get(order.payment_id)
        if paid is None or paid.student_id != order.student_id:
            return None, False
        if paid.status != "pending":
            return paid, False
        paid = self._provider.cancel(order.payment_id)
        if paid.status == "failed":
            effects.payment_cancelled(self._engine, order)
        return paid, True

    def _owed(self, order: PurchaseOrder, amount_minor: int) -> int:
        choice = refund_choice(self._engine, order, self._clock())
        return owed_back(amount_minor, choice.refund, choice.lessons, choice.delivered)

    def _refund(self, order: PurchaseOrder, amount_minor: int, currency: str) -> Undone:
        amount = effects.request_refund(self._engine, order, amount_minor, currency, self._clock())
        try:
            given = self._provider.refund(effects.refund_id_of(order), order.payment_id, order.line, amount)
        except ProviderRefused as refusal:
            effects.refund_failed(self._engine, order)
            raise Refused("REFUND_FAILED", f"the provider refused the refund: {refusal.code}") from refusal
        return self._refunded(order, given.id)

    def _refunded(self, order: PurchaseOrder, provider_id: str | None) -> Undone:
        effects.refund_succeeded(self._engine, order, provider_id, self._clock())
        log.info("payment_line_refunded", payment_id=order.payment_id, line=order.line, workflow_id=order.workflow_id)
        return Undone(changed=True, refunded=True)
