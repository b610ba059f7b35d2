"""Read the test cards a student may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.reads.access import today_of
from db.rows import rows_as

ATTEMPTS = 3  # on each card (mission row 4)

# Whether the card may be used: neither it nor its purchase is void, and the student has access to its subject on the
# `today` of `today_of`.
USABLE: LiteralString = """
card.voided_at IS NULL AND purchase.status <> 'voided' AND EXISTS (
  SELECT FROM enrollments AS access
  WHERE access.student_id = purchase.student_id AND access.item_type = 'subject' AND access.item_id = card.subject_id
    AND access.ended_at IS NULL AND (access.expires_on IS NULL OR access.expires_on >= :today))"""

# Raw: each card with what was used of it.
_CARDS = text(f"""
SELECT card.id AS test_card_id, card.purchase_id, card.subject_id, subject.title AS subject, card.test_number,
       used.attempts AS attempts_used, used.running AS test_session_id
FROM student_course_purchases AS purchase
JOIN mock_test_attempts AS card ON card.purchase_id = purchase.id
JOIN catalogue_items AS subject ON subject.item_type = 'subject' AND subject.id = card.subject_id
CROSS JOIN LATERAL (
  SELECT count(*) AS attempts, (array_agg(id ORDER BY attempt DESC) FILTER (WHERE state = 'in_progress'))[1] AS running
  FROM test_attempt_sessions WHERE test_card_id = card.id
) AS used
WHERE purchase.student_id = :student_id AND {USABLE}
ORDER BY subject.title, card.subject_id, purchase.purchased_at, card.purchase_id, card.test_number
""")  # noqa: S608 -- a constant of this file


@dataclass(frozen=True)
class AvailableCard:
    """A card with what was used of it. `test_session_id`: the last attempt that is still in progress."""

    test_card_id: str
    purchase_id: str
    subject_id: str
    subject: str
    test_number: int
    attempts_used: int
    test_session_id: str | None


async def cards_of(conn: AsyncConnection, student_id: str, now: datetime) -> list[AvailableCard]:
    """Return the student's cards that may be used now, ordered by subject."""
    today = await today_of(conn, student_id, now)
    return rows_as(AvailableCard, await conn.execute(_CARDS, {"student_id": student_id, "today": today}))
