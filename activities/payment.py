"""Confirm that a line is paid; refund it. The provider is the source of truth, the ledger only remembers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from temporalio import activity

from activities.refunding import Refunding
from db import ledger
from db.effects import payment as effects
from db.effects import refunds
from domain.metadata import Merged, merge
from domain.money import amount
from domain.purchase import PaymentConfirmed, PurchaseOrder, Undone
from domain.refusals import Refused
from domain.schedule import first_day, start_warning
from domain.session_count import resolve_session_count
from domain.wanted_lessons import wanted_lessons
from gateways.payments import PAID, PaymentProvider, ProviderTrouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_UNREAD = "the payment's metadata could not be read: what the event says of it is used instead"
_GIVEN_BACK = "at the payment provider {given} of this line's {paid} were given back before it began"


class MetadataUnreadable(Exception):
    """The payment's metadata is no JSON object. Trouble, not a refusal: it is tried again until somebody mends it."""


class PaymentActivities:
    """confirm_payment and its undo, refund_payment (mission rows 21, 22, 68, 75)."""

    def __init__(self, engine: Engine, provider: PaymentProvider, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._provider = provider
        self._clock = clock
        self._refunding = Refunding(engine, provider, clock)

    @activity.defn(name="confirm_payment", no_thread_cancel_exception=True)
    def confirm_payment(self, order: PurchaseOrder) -> PaymentConfirmed:
        """Confirm that this student's line is paid, and how many lessons it bought; the first answer is kept for good.

        Raises PAYMENT_NOT_FOUND, PAYMENT_OWNER_MISMATCH, PAYMENT_PENDING, PAYMENT_NOT_SUCCEEDED, in this order;
        ALREADY_MADE_WHOLE after refund_payment. A line counts as paid while the payment is succeeded or partially
        refunded, the provider holds anything of this line, and no refund of ours is on its way or done. What somebody
        else refunded of it before is a warning. An order without a payment is confirmed as the API was asked for it.
        When the payment's metadata cannot be read, a purchase started by an event goes on with the event's own at the
        last of its quick tries; any other waits (mission row 23).
        """
        facts = self._facts(order)
        settled = ledger.answered(facts.state, facts.result)
        if settled is None:
            given_back = None
            if order.payment_id:
                given_back = self._require_paid(order, facts)
            settled = effects.record_confirmation(
                self._engine, order, self._confirmation(facts, given_back), self._clock()
            )
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
        """Refund what is owed of this line if this student paid it, whether or not confirm_payment finished.

        How amounts are compared: activities/refunding.py. Owed is all that the provider holds, unless an operator's
        cancel said `undelivered` (the share of the lessons not given) or `none` (the money is kept). Raises
        REFUND_FAILED when the provider refuses; any other error is trouble and tried again.
        """
        return self._refunding.refund(order)

    def _facts(self, order: PurchaseOrder) -> effects.ConfirmationFacts:
        """The facts; `metadata` is None only when it could not be read and the event's is to be used."""
        try:
            facts = effects.confirmation_facts(self._engine, order)
            if isinstance(facts.metadata, dict) or facts.payment_id is None or facts.state is not None:
                return facts
            raise MetadataUnreadable(f"the metadata of payment {order.payment_id}, line {order.line}, is no object")
        except (MetadataUnreadable, DBAPIError) as trouble:
            if order.origin != "event" or not _is_last_quick_try():
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

    def _require_paid(self, order: PurchaseOrder, facts: effects.ConfirmationFacts) -> str | None:
        """What to say of a line that was given back in part before; None of one that is held whole."""
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
        if (line.amount_minor, paid.currency) != (facts.amount_minor, facts.currency):
            raise ProviderTrouble("the payment provider names another amount or currency than the line was sold for")
        if paid.status == "pending":
            raise Refused("PAYMENT_PENDING", f"payment {order.payment_id} is still pending")
        if facts.refunded or (line.amount_minor and not paid.held(order.line)) or paid.status not in PAID:
            what = "this line was refunded" if paid.status in PAID else f"it is {paid.status}"
            raise Refused("PAYMENT_NOT_SUCCEEDED", f"payment {order.payment_id} does not count as paid: {what}")
        if not line.refunded_minor:
            return None
        refunds.seen(self._engine, order, line.refunded_minor)
        log.warning(
            "payment_line_partly_given_back",
            payment_id=order.payment_id,
            line=order.line,
            workflow_id=order.workflow_id,
            given_back_minor=line.refunded_minor,
            amount_minor=line.amount_minor,
        )
        return _GIVEN_BACK.format(
            given=amount(line.refunded_minor, paid.currency), paid=amount(line.amount_minor, paid.currency)
        )

    def _confirmation(self, facts: effects.ConfirmationFacts, given_back: str | None) -> ledger.Json:
        merged = merge(
            payment=facts.metadata,
            event=facts.event_metadata,
            request=facts.request_metadata,
            request_wins=facts.payment_id is None,
        )
        count = resolve_session_count(merged.fields)
        starts, moved = self._first_day(merged, facts)
        unread = _UNREAD if facts.payment_id and facts.metadata is None else None
        warnings = [*merged.warnings, *(said for said in (given_back, unread, count.warning, moved) if said)]
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

    def _first_day(self, merged: Merged, facts: effects.ConfirmationFacts) -> tuple[str | None, str | None]:
        """The day of lesson 1, decided once, and what to say of it; neither without a profile or a usable plan."""
        if facts.timezone is None:
            return None, None
        try:
            wanted = wanted_lessons(merged.fields)
            first, moved = first_day(wanted, facts.timezone, self._clock(), facts.holidays)
        except Refused:
            return None, None  # the step that needs the plan refuses, with what is missing
        return first.isoformat(), start_warning(wanted, first, moved)


def _is_last_quick_try() -> bool:
    """Return whether this is the last of the tries that come at once; a local one never is."""
    info = activity.info()
    tries = info.retry_policy.maximum_attempts if info.retry_policy else 1
    return not info.is_local and info.attempt >= tries
