"""End a purchase's access after its last day; extend it to a later day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.effects import access as effects
from db.effects.decisions import record_in
from domain.access import AccessLook, Extension, access_ends, why_no_extension
from domain.acts import ActRecord
from domain.days import DAY, day_of
from domain.lesson_changes import KEY_REUSED, refused
from domain.purchase import PurchaseOrder

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class AccessActivities:
    """end_access and extend_access (mission rows 57, C16; invariants I6, I10)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="end_access", no_thread_cancel_exception=True)
    def end_access(self, order: PurchaseOrder) -> AccessLook:
        """End the access if its last day is over in the student's zone; else return how long to wait. Idempotent.

        `over` is true as well for a purchase that was rolled back and for access without an end: nobody waits for it.
        """
        now = self._clock()
        with self._engine.begin() as connection:
            found = effects.facts(connection, order)
            if found is None or found.taken_back or found.expires_on is None:
                return AccessLook("over")
            last_day: date = found.expires_on
            ends = access_ends(last_day, found.timezone)
            if now < ends:
                return AccessLook("waits", (ends - now).total_seconds(), str(last_day))
            if found.expired_at is None:
                effects.end(connection, order, last_day, now)
        if found.expired_at is None:
            log.info("access_ended", workflow_id=order.workflow_id, payment_id=order.payment_id, last_day=str(last_day))
        return AccessLook("ended", last_day=str(last_day))

    @activity.defn(name="extend_access", no_thread_cancel_exception=True)
    def extend_access(self, wanted: Extension) -> str:
        """Extend the access to another day and write the audit row; return the outcome in words, or `refused: ...`.

        A repeated request key gets its first answer and changes nothing; with another day it is refused.
        """
        until, now, order = day_of(wanted.expiry_date), self._clock(), wanted.order
        if until is None:
            return refused("INVALID_ACT", f"expiryDate is not {DAY}")
        asked = {"expiryDate": wanted.expiry_date}
        with self._engine.begin() as connection:
            if first := effects.acted(connection, order, wanted.request_key):
                same = first.verb == "extend" and (first.values or asked) == asked
                return first.outcome if same else refused("KEY_REUSED", KEY_REUSED)
            found = effects.facts(connection, order)
            before = {"expiresOn": str(found.expires_on) if found and found.expires_on else None}
            no = "there is no purchase yet" if found is None else why_no_extension(
                taken_back=found.taken_back, renewed_by=found.superseded_by, last_day=found.expires_on, until=until, now=now,
                zone=found.timezone,
            )  # fmt: skip
            outcome = f"refused: WRONG_STAGE: {no}" if no else f"access lasts until {until}"
            if not no:
                effects.extend(connection, order, until, now)
            after = before if no else {"expiresOn": str(until)}
            act = ActRecord(
                order, wanted.request_key, "extend", wanted.actor, wanted.reason, before, after, outcome, values=asked
            )
            record_in(connection, act, now)
        log.info("access_extension", workflow_id=order.workflow_id, actor=wanted.actor, outcome=outcome)
        return outcome
