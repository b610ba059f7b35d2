"""Start a student's attempts at test cards: a write of the API, no part of a saga."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.reads.access import today_of
from db.reads.test_cards import ATTEMPTS, USABLE
from db.request_keys import claim_in
from db.rows import optional_row_as

# Raw: the card alone is locked. Starts of one card take turns at its row, and with void_test_cards, which locks it too.
_CARD = text(f"""
SELECT {USABLE} AS usable
FROM mock_test_attempts AS card JOIN student_course_purchases AS purchase ON purchase.id = card.purchase_id
WHERE card.id = :card_id AND purchase.student_id = :student_id
FOR UPDATE OF card
""")  # noqa: S608 -- constants of our own
_BY_KEY = text("""
SELECT id, attempt, state, started_at FROM test_attempt_sessions
WHERE test_card_id = :card_id AND idempotency_key = :key
""")
_START = text("""
INSERT INTO test_attempt_sessions (id, test_card_id, attempt, idempotency_key, state, started_at)
SELECT :id, :card_id, count(*) + 1, :key, 'in_progress', :now
FROM test_attempt_sessions WHERE test_card_id = :card_id
HAVING count(*) < :most
RETURNING id, attempt, state, started_at
""")


@dataclass(frozen=True)
class Attempt:
    """One attempt at a test card, numbered 1 to 3. `state`: in_progress, submitted or expired."""

    id: str
    attempt: int
    state: str
    started_at: datetime


@dataclass(frozen=True)
class _Card:
    usable: bool


class NoSuchCard(Exception):
    """The student has no card with this id that may be used."""


class AttemptsExhausted(Exception):
    """Every attempt of the card was used."""


async def start_attempt(
    engine: AsyncEngine, card_id: str, student_id: str, key: str, now: datetime
) -> tuple[Attempt, bool]:
    """Start the next attempt at a card. Return it and True, or the attempt this key started before and False (row 8).

    Raises NoSuchCard, AttemptsExhausted, KeyReused (the key started a test on another card).
    """
    async with engine.begin() as conn:
        today = await today_of(conn, student_id, now)
        values = {"card_id": card_id, "student_id": student_id, "key": key, "today": today}
        card = optional_row_as(_Card, await conn.execute(_CARD, values))
        if card is None:
            raise NoSuchCard
        await claim_in(conn, "tests", student_id, key, {"card": card_id})
        if (before := await _one(conn, _BY_KEY, values)) is not None:
            return before, False
        if not card.usable:
            raise NoSuchCard
        started = await _one(conn, _START, {**values, "id": str(uuid4()), "now": now, "most": ATTEMPTS})
        if started is None:
            raise AttemptsExhausted
        return started, True


async def _one(conn: AsyncConnection, statement: TextClause, values: Mapping[str, object]) -> Attempt | None:
    return optional_row_as(Attempt, await conn.execute(statement, values))
