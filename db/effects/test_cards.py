"""Issue the test cards of a purchase all together, and count them before the commit; void them, never delete them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from sqlalchemy import Engine, text

from db import ledger
from db.effects.learning import BUMP, bumped_from
from db.rows import rows_as
from domain.purchase import CARDS_PER_SUBJECT, PurchaseOrder, Undone

_STEP = "issue_test_cards"

# Raw: all cards in one statement.
_ISSUE: LiteralString = f"""
issued AS (
  INSERT INTO mock_test_attempts (id, purchase_id, subject_id, test_number, issued_at)
  SELECT gen_random_uuid()::text, purchase_id, subject_id, number, :now
  FROM claim JOIN purchase_subjects USING (purchase_id), generate_series(1, :per_subject) AS number
  ON CONFLICT ON CONSTRAINT unique_test_per_purchase_subject DO NOTHING
), {bumped_from("claim")}"""  # noqa: S608 -- constants

# Raw: a subject without cards counts, too.
_COUNTS = text("""
SELECT subject_id, count(card.id) FILTER (WHERE voided_at IS NULL) AS cards
FROM purchase_subjects LEFT JOIN mock_test_attempts AS card USING (purchase_id, subject_id)
WHERE purchase_id = :purchase_id
GROUP BY subject_id
""")

# Whoever starts a test locks its card first: after this statement the next one sees every attempt.
_LOCK = "SELECT FROM mock_test_attempts WHERE purchase_id = :purchase_id ORDER BY id FOR UPDATE"
_VOID = """
UPDATE mock_test_attempts AS card SET voided_at = :now
WHERE purchase_id = :purchase_id AND voided_at IS NULL
  AND NOT EXISTS (SELECT FROM test_attempt_sessions WHERE test_card_id = card.id)
"""


@dataclass(frozen=True)
class _Count:
    subject_id: str
    cards: int


class WrongCount(Exception):
    """A subject would not have exactly its cards: nothing was done. `counts`: how many each subject would have."""

    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__(counts)
        self.counts = counts


def issue(engine: Engine, order: PurchaseOrder, now: datetime) -> None:
    """Issue cards 1..50 of each subject of the purchase, once, all or none; cards that are there are left alone.

    Raises WrongCount when after that a subject does not have exactly its cards.
    """
    with engine.begin() as connection:
        values = {"student_id": order.student_id, "per_subject": CARDS_PER_SUBJECT}
        first, _ = ledger.do_within(connection, order, _STEP, {}, _ISSUE, now=now, **values)
        if first:
            found = rows_as(_Count, connection.execute(_COUNTS, {"purchase_id": order.purchase_id}))
            counts = {row.subject_id: row.cards for row in found}
            if set(counts.values()) != {CARDS_PER_SUBJECT}:
                raise WrongCount(counts)


def void(engine: Engine, order: PurchaseOrder, now: datetime) -> Undone:
    """Void the cards nobody has used; a card with an attempt stays as it is."""
    return ledger.undo(engine, order, _STEP, _LOCK, _VOID, BUMP, now=now, student_id=order.student_id)
