"""Remove the bought line from the cart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db import ledger
from db.effects import cart as effects
from domain.purchase import PurchaseOrder

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CartActivities:
    """clear_cart (mission row 87)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="clear_cart", no_thread_cancel_exception=True)
    def clear_cart(self, order: PurchaseOrder) -> None:
        """Remove the bought line and nothing else. Gone already is fine; an order that names none is a warning."""
        facts = effects.cart_facts(self._engine, order)
        if ledger.answered(facts.state, facts.result) is not None:
            return
        if facts.cart_item_id is None and facts.item_id is None:
            log.warning(
                "cart_not_cleared",
                why="neither processingItemId nor courseId names the line",
                payment_id=order.payment_id,
                workflow_id=order.workflow_id,
            )
        effects.remove(self._engine, order, facts.found, self._clock())
