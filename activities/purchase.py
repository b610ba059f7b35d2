"""Create the purchase, void it, announce how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import reduce
from typing import Any

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db import ledger
from db.effects import purchase as effects
from db.effects.creation_facts import CreationFacts, creation_facts
from domain.access import access_ends
from domain.amendments import PurchaseTerms, amended, last_day_of_access, without_lessons
from domain.duplicate_payment import looks_double
from domain.metadata import for_others
from domain.purchase import Announcement, PurchaseCreated, PurchaseOrder, Undone
from domain.refusals import Refused
from domain.wanted_lessons import wanted_lessons

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PurchaseActivities:
    """create_purchase, its undo void_purchase, and announce (mission rows 13, 24, 25, 27, 37, 53, 61, C4)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="create_purchase", no_thread_cancel_exception=True)
    def create_purchase(self, order: PurchaseOrder) -> PurchaseCreated:
        """Store the purchase in one transaction: row, complete metadata, ownership, subjects and event.

        Operators' amendments are applied, in their order, to what confirm_payment returned. Another active
        purchase of the same item is superseded: this one is its renewal. Raises UNKNOWN_ITEM, COURSE_UNAVAILABLE,
        METADATA_INCOMPLETE, DUPLICATE_PAYMENT_SUSPECTED (unless amended to a renewal), CONFLICT_OTHER_OWNER, in this
        order; ALREADY_MADE_WHOLE after void_purchase.
        """
        facts = creation_facts(self._engine, order)
        created = ledger.answered(facts.state, facts.result)
        if created is None:
            created = self._create(order, facts)
        return PurchaseCreated(created["fulfilment"], created["itemId"], facts.coins, created.get("expires", False))

    @activity.defn(name="void_purchase", no_thread_cancel_exception=True)
    def void_purchase(self, order: PurchaseOrder) -> Undone:
        """Void the purchase and revoke its ownership; reactivate the purchase it renewed (mission row 61)."""
        undone = effects.void(self._engine, order, self._clock())
        log.info("purchase_voided", workflow_id=order.workflow_id, payment_id=order.payment_id, changed=undone.changed)
        return undone

    @activity.defn(name="announce", no_thread_cancel_exception=True)
    def announce(self, what: Announcement) -> None:
        """Add the event to the outbox once, and store the ending, which outlives Temporal's retention."""
        effects.announce(self._engine, what, self._clock())

    def _create(self, order: PurchaseOrder, facts: CreationFacts) -> ledger.Json:
        confirmed = ledger.answered(facts.confirmed_state, facts.confirmed)
        if confirmed is None:
            raise RuntimeError("create_purchase came before confirm_payment had settled the line")
        settled = reduce(amended, facts.amendments, _terms(confirmed))
        if facts.fulfilment == "test_cards":
            settled = without_lessons(settled)
        _require_for_sale(facts, settled.fields)
        _require_no_double(order, facts, settled.session_count, self._clock())
        expires_on, unreadable = last_day_of_access(settled.fields)
        if expires_on and access_ends(expires_on, facts.timezone) <= self._clock():
            raise Refused(
                "METADATA_INCOMPLETE", "the last day of access (expiryDate) has passed: nothing could be used"
            )
        created = effects.create(
            self._engine,
            order,
            facts,
            session_count=settled.session_count,
            session_count_source=settled.session_count_source,
            metadata=json.dumps(settled.fields),
            for_others=json.dumps(for_others(settled.fields)),
            sources=json.dumps(settled.sources),
            extras=json.dumps(settled.extras),
            warnings=json.dumps([*settled.warnings, *unreadable]),
            series_start=settled.series_start,
            expires_on=expires_on,
            now=self._clock(),
        )
        log.info(
            "purchase_created",
            workflow_id=order.workflow_id,
            payment_id=order.payment_id,
            item_id=facts.item_id,
            session_count=settled.session_count,
            supersedes=facts.older,
        )
        return created


def _terms(confirmed: ledger.Json) -> PurchaseTerms:
    """What confirm_payment settled, before any amendment."""
    starts: str | None = confirmed["seriesStart"]
    return PurchaseTerms(
        fields=confirmed["fields"],
        sources=confirmed["sources"],
        extras=confirmed["extras"],
        warnings=confirmed["warnings"],
        session_count=confirmed["sessionCount"],
        session_count_source=confirmed["source"],
        series_start=None if starts is None else date.fromisoformat(starts),
    )


def _require_for_sale(facts: CreationFacts, fields: Mapping[str, Any]) -> None:
    if facts.fulfilment is None:
        raise Refused("UNKNOWN_ITEM", "the catalogue has no item of this itemType and itemId")
    if not facts.open:
        raise Refused("COURSE_UNAVAILABLE", f"{facts.item_type} {facts.item_id} is closed")
    if facts.fulfilment == "sessions":
        wanted_lessons(fields)  # raises METADATA_INCOMPLETE, naming what is missing
    if facts.fulfilment == "test_cards":
        _require_subjects(facts)


def _require_subjects(facts: CreationFacts) -> None:
    if facts.unknown_subjects:
        names = ", ".join(facts.unknown_subjects)
        raise Refused("UNKNOWN_ITEM", f"{facts.item_type} {facts.item_id} names subjects nobody knows: {names}"[:500])
    if not facts.subjects:
        raise Refused("UNKNOWN_ITEM", f"{facts.item_type} {facts.item_id} has no subjects")


def _require_no_double(order: PurchaseOrder, facts: CreationFacts, count: int, now: datetime) -> None:
    renewal = facts.supersede or any(amendment.get("treatAs") == "renewal" for amendment in facts.amendments)
    if not renewal and (why := _double(order, facts, count, now)):
        raise Refused("DUPLICATE_PAYMENT_SUSPECTED", why)
    if facts.holder not in (None, order.student_id):
        raise Refused("CONFLICT_OTHER_OWNER", f"line {order.line} of payment {order.payment_id} is another student's")


def _double(order: PurchaseOrder, facts: CreationFacts, count: int, now: datetime) -> str | None:
    """Why this looks like the same purchase once more: paid for twice, or given although the student has it (C4)."""
    if not order.payment_id:
        over = facts.older_expires_on is not None and access_ends(facts.older_expires_on, facts.timezone) <= now
        return None if facts.older is None or over else f"the student has it already, by purchase {facts.older}"
    paid_at, older_paid_at, older_count = facts.paid_at, facts.older_paid_at, facts.older_count
    if paid_at is None or older_paid_at is None or older_count is None or facts.older_payment == order.payment_id:
        return None
    if not looks_double(paid_at, count, older_paid_at, older_count):
        return None
    apart = abs(paid_at - older_paid_at)
    what = f"the same {count} lessons" if facts.fulfilment == "sessions" else f"the same {facts.item_type}"
    return f"payment {facts.older_payment} bought {what} {apart.total_seconds():.0f} s apart"
