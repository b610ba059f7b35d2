"""Count up the version in the key of a student's cached learning page."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from db.engine import at_once

# Raw: the first page makes the row, every other counts it up.
_BUMP = text("""
INSERT INTO learning_versions AS kept (student_id, version) VALUES (:student_id, 1)
ON CONFLICT (student_id) DO UPDATE SET version = kept.version + 1
""")


def bump(engine: Engine, student_id: str) -> None:
    """Make every page cached under an older version stale, in every process (mission row C8)."""
    with at_once(engine) as connection:
        bump_in(connection, student_id)


def bump_in(connection: Connection, student_id: str) -> None:
    """Act as `bump` in the caller's transaction."""
    connection.execute(_BUMP, {"student_id": student_id})
