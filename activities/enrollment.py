"""Enroll the student in what was bought; end that access."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.effects import enrollment as effects
from domain.purchase import PurchaseOrder, Undone

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class EnrollmentActivities:
    """enroll and its undo unenroll (mission rows 56, 57, 71, I6)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="enroll", no_thread_cancel_exception=True)
    def enroll(self, order: PurchaseOrder) -> None:
        """Give access to the course or the subjects until the end of the purchase's last day, if it has one."""
        effects.enroll(self._engine, order, self._clock())
        log.info("enrollment_completed", payment_id=order.payment_id, workflow_id=order.workflow_id)

    @activity.defn(name="unenroll", no_thread_cancel_exception=True)
    def unenroll(self, order: PurchaseOrder) -> Undone:
        """End the access given by this purchase. A student who has the item through another purchase keeps it."""
        undone = effects.unenroll(self._engine, order, self._clock())
        log.info("enrollment_ended", payment_id=order.payment_id, workflow_id=order.workflow_id, changed=undone.changed)
        return undone
