"""Read what decides how much money and coins go back: an operator's cancel, and which lessons were given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from db.engine import at_once
from db.rows import row_as
from domain.money import owed_back
from domain.purchase import PurchaseOrder

# Raw: four questions in one round trip. Given are the lessons that have ended and were not cancelled (spec section 10).
_CHOICE = text("""
SELECT coalesce((SELECT decision.values ->> 'refund' FROM operator_decisions AS decision
                 WHERE decision.purchase_id = :purchase_id AND decision.attempt = :attempt AND verb = 'cancel'
                 ORDER BY decided_at DESC LIMIT 1), 'full') AS refund,
       (SELECT session_count FROM student_course_purchases WHERE id = :purchase_id) AS lessons,
       ARRAY(SELECT number FROM sessions
             WHERE purchase_id = :purchase_id AND status = 'scheduled' AND ends_at <= :now) AS delivered,
       EXISTS (SELECT FROM operator_decisions WHERE purchase_id = :purchase_id AND attempt = :attempt
               AND verb = 'settle_refund') AS settled_outside
""")


@dataclass(frozen=True)
class RefundChoice:
    """What decides how much goes back. `refund`: full, undelivered or none; `lessons`: how many were bought, None
    before there is a purchase row; `delivered`: the numbers of those given.

    `settled_outside`: two operators said that the money was given back outside the provider.
    """

    refund: str
    lessons: int | None
    delivered: list[int]
    settled_outside: bool

    def owed(self, held_minor: int) -> int:
        """Return how much of `held_minor` goes back, in minor units."""
        return owed_back(held_minor, self.refund, self.lessons, self.delivered)


def refund_choice(engine: Engine, order: PurchaseOrder, now: datetime) -> RefundChoice:
    """Read an operator's last choice, `full` without one, and which lessons were given by `now`."""
    values = {"purchase_id": order.purchase_id, "attempt": order.attempt, "now": now}
    with at_once(engine) as connection:
        return row_as(RefundChoice, connection.execute(_CHOICE, values))
