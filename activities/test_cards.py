"""Issue the test cards of what was bought; void the unused ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.effects import test_cards as effects
from domain.purchase import CARDS_PER_SUBJECT, PurchaseOrder, Undone
from domain.refusals import Refused

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CardActivities:
    """issue_test_cards and its undo void_test_cards (mission rows 1 to 5, I5)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="issue_test_cards", no_thread_cancel_exception=True)
    def issue_test_cards(self, order: PurchaseOrder) -> None:
        """Issue 50 cards of each subject that was bought, all or none.

        Raises CARDS_FAILED when the number of cards is another in the end; ALREADY_MADE_WHOLE after void_test_cards.
        """
        try:
            effects.issue(self._engine, order, self._clock())
        except effects.WrongCount as wrong:
            counted = ", ".join(f"{cards} of {subject}" for subject, cards in sorted(wrong.counts.items()))
            said = f"there would be {counted or 'none'}; {CARDS_PER_SUBJECT} of each subject are due"
            raise Refused("CARDS_FAILED", said[:500]) from wrong
        log.info("test_cards_issued", payment_id=order.payment_id, line=order.line, workflow_id=order.workflow_id)

    @activity.defn(name="void_test_cards", no_thread_cancel_exception=True)
    def void_test_cards(self, order: PurchaseOrder) -> Undone:
        """Void the cards on which no test was started; the others stay with their answers."""
        undone = effects.void(self._engine, order, self._clock())
        log.info(
            "test_cards_voided", payment_id=order.payment_id, workflow_id=order.workflow_id, changed=undone.changed
        )
        return undone
