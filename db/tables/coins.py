"""Coins: every movement, and the balance that follows from them.

The migration's triggers do three things these classes cannot say: a movement changes the balance in its own statement,
a student's opening balance is a movement, and movements refuse UPDATE, DELETE and TRUNCATE.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sqlalchemy import CheckConstraint, Index, text

from db.tables.columns import Id, MaybeWords, Minor, Row, Words, one_of, reference


class CoinBalance(Row, table=True):
    """What a student has, never negative; no row is 0. Written by the trigger on movements alone (invariant I7)."""

    __tablename__ = "coin_balances"
    __table_args__ = (CheckConstraint("coins >= 0", name="balance_not_negative"),)

    student_id: Annotated[str, reference("students.id", key=True)]
    coins: Minor


class CoinMovement(Row, table=True):
    """Coins came (above 0) or went (below): 1 coin is 1 minor unit. `key` is the business key that makes it once."""

    __tablename__ = "coin_movements"
    __table_args__ = (
        one_of("kind", "opening", "top_up", "redemption", "recredit"),
        CheckConstraint("coins <> 0 AND (coins < 0) = (kind = 'redemption')", name="only_a_redemption_takes"),
        CheckConstraint("(purchase_id IS NOT NULL) = (kind IN ('redemption', 'recredit'))", name="of_a_purchase"),
        CheckConstraint(
            "kind <> 'top_up' OR (actor IS NOT NULL AND reason IS NOT NULL)", name="top_up_says_who_and_why"
        ),
        Index("coin_movements_by_student", "student_id", "moved_at"),
        Index("coin_movements_by_purchase", "purchase_id", postgresql_where=text("purchase_id IS NOT NULL")),
    )

    key: Id
    student_id: Annotated[str, reference("students.id")]
    kind: Words
    coins: Minor
    purchase_id: Annotated[str | None, reference("purchase_starts.purchase_id")] = None
    actor: MaybeWords = None
    reason: MaybeWords = None
    moved_at: datetime
