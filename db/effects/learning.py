"""Count up the version in the key of a student's cached learning page, in the transaction of what changes the page.

So a read that comes after a commit never finds a page from before it, in whatever process (mission row 28, C8).
"""

from __future__ import annotations

from typing import LiteralString

from sqlalchemy import Connection, text

# For the parameter :student_id. The first page makes the row, every other counts it up.
BUMP: LiteralString = """
INSERT INTO learning_versions AS kept (student_id, version) VALUES (:student_id, 1)
ON CONFLICT (student_id) DO UPDATE SET version = kept.version + 1
"""


def bumped_from(changed: LiteralString) -> LiteralString:
    """Return the CTE `bumped`, which counts up once if the CTE `changed` has rows; it runs after that one."""
    return f"""
bumped AS (
  INSERT INTO learning_versions AS kept (student_id, version)
  SELECT :student_id, 1 WHERE EXISTS (SELECT FROM {changed})
  ON CONFLICT (student_id) DO UPDATE SET version = kept.version + 1
)"""  # noqa: S608 -- constants


def bump_in(connection: Connection, student_id: str) -> None:
    """Make every page cached under an older version stale, once the caller's transaction is committed."""
    connection.execute(text(BUMP), {"student_id": student_id})
