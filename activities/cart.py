"""Complete a purchase, and with it remove the bought line from the cart; rule out that it completes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from temporalio import activity

from db.effects import cart as effects
from db.trouble import is_database_trouble
from domain.purchase import PurchaseOrder, Undone

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CartActivities:
    """clear_cart, the pivot, and its undo rule_out_completion (mission rows 53, 87)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="clear_cart", no_thread_cancel_exception=True)
    def clear_cart(self, order: PurchaseOrder) -> None:
        """Complete the purchase: store the ending, tell PURCHASE_COMPLETED, and remove the bought line from the cart.

        All in one transaction. Nothing else leaves the cart; a line gone already is fine. An order that names none, and
        a cart that refuses, are warnings: they do not keep a student from what was bought. Raises ALREADY_MADE_WHOLE
        after rule_out_completion.
        """
        try:
            done = effects.complete(self._engine, order, self._clock())
        except DBAPIError as refused:
            if is_database_trouble(refused):
                raise
            self._warn(order, f"the cart refused ({type(refused.orig).__name__})")
            done = effects.complete(self._engine, order, self._clock(), cart=False)
        if done.first and done.unnamed:
            self._warn(order, "neither processingItemId nor courseId names the line")
        log.info("purchase_completed", payment_id=order.payment_id, workflow_id=order.workflow_id, first=done.first)

    @activity.defn(name="rule_out_completion", no_thread_cancel_exception=True)
    def rule_out_completion(self, order: PurchaseOrder) -> Undone:
        """Make sure that this purchase is never completed; `too_late` says that it is, and that nothing may be undone."""
        return effects.rule_out(self._engine, order, self._clock())

    def _warn(self, order: PurchaseOrder, why: str) -> None:
        log.warning("cart_not_cleared", why=why, payment_id=order.payment_id, workflow_id=order.workflow_id)
