"""Read and open old attempts, the tests of the older system; no other code queries their table (row 6).

No step uses this file, and it inserts no row. Ids may be numbers in a table that was taken over with its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.rows import optional_row_as, rows_as

# Raw, all of it: the columns of a table that came with its rows may be of other kinds.
_SHOWN: LiteralString = """
attempt.id::text AS attempt_id, attempt.subject_id::text AS subject_id, attempt.title, attempt.state, attempt.started_at"""
_MINE: LiteralString = "attempt.student_id::text = :student_id AND attempt.id::text = :attempt_id"

_ALL = text(f"""
SELECT {_SHOWN} FROM test_attempts AS attempt WHERE attempt.student_id::text = :student_id
ORDER BY attempt.title, attempt.id
""")  # noqa: S608 -- a constant of this file
_ONE = text(f"SELECT {_SHOWN} FROM test_attempts AS attempt WHERE {_MINE}")  # noqa: S608 -- constants of this file
_OPEN = text(f"""
UPDATE test_attempts AS attempt SET state = 'in_progress', started_at = coalesce(attempt.started_at, :now)
WHERE {_MINE} AND attempt.state = 'not_started'
""")  # noqa: S608 -- constants of this file
_QUESTIONS = text(f"""
SELECT CASE jsonb_typeof(to_jsonb(attempt.questions)) WHEN 'array' THEN to_jsonb(attempt.questions) END AS questions
FROM test_attempts AS attempt WHERE {_MINE}
""")  # noqa: S608 -- constants of this file


@dataclass(frozen=True)
class OldAttempt:
    """An attempt of the older system. `state`: `not_started`, `in_progress`, or what that system called its end."""

    attempt_id: str
    subject_id: str | None
    title: str | None
    state: str
    started_at: datetime | None


@dataclass(frozen=True)
class _Questions:
    questions: list[Any] | None


class NoSuchAttempt(Exception):
    """The student has no attempt with this id."""


async def old_attempts_of(conn: AsyncConnection, student_id: str) -> list[OldAttempt]:
    """Return all old attempts of the student, the ended ones too, ordered by title."""
    return rows_as(OldAttempt, await conn.execute(_ALL, {"student_id": student_id}))


async def open_old_attempt(engine: AsyncEngine, attempt_id: str, student_id: str, now: datetime) -> OldAttempt:
    """Start the attempt unless it was before, and return it; an ended one stays as it is. Raises NoSuchAttempt."""
    mine = {"attempt_id": attempt_id, "student_id": student_id}
    async with engine.begin() as conn:
        await conn.execute(_OPEN, {**mine, "now": now})
        attempt = optional_row_as(OldAttempt, await conn.execute(_ONE, mine))
    if attempt is None:
        raise NoSuchAttempt
    return attempt


async def old_questions_of(conn: AsyncConnection, attempt_id: str, student_id: str) -> list[Any]:
    """Return the questions stored with the attempt, an empty list if there are none. Raises NoSuchAttempt."""
    mine = {"attempt_id": attempt_id, "student_id": student_id}
    found = optional_row_as(_Questions, await conn.execute(_QUESTIONS, mine))
    if found is None:
        raise NoSuchAttempt
    return found.questions or []
