"""Invalidate the student's cached learning page."""

from __future__ import annotations

from sqlalchemy import Engine
from temporalio import activity

from db.effects import learning as effects
from domain.purchase import PurchaseOrder


class LearningActivities:
    """invalidate_learning_cache (mission rows 28, C8). Not in the ledger: repeats do no harm."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @activity.defn(name="invalidate_learning_cache", no_thread_cancel_exception=True)
    def invalidate_learning_cache(self, order: PurchaseOrder) -> None:
        """Mark the cached page stale: a read after this one sees everything committed before it."""
        effects.bump(self._engine, order.student_id)
