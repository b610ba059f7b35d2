"""Access ends with time and may be given again: when it ended is on the purchase, why on the access itself.

`expires_on` stays the last day of access. Nothing is deleted, and what was owned stays owned: that is history.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

EXPIRY = """
ALTER TABLE student_course_purchases
  ADD COLUMN expired_at timestamptz CONSTRAINT only_what_ends_expires CHECK (expired_at IS NULL OR expires_on IS NOT NULL);
ALTER TABLE enrollments
  ADD COLUMN expired boolean NOT NULL DEFAULT false
    CONSTRAINT expired_has_ended CHECK (NOT expired OR (ended_at IS NOT NULL AND expires_on IS NOT NULL));
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(EXPIRY)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE enrollments DROP COLUMN expired")
    op.execute("ALTER TABLE student_course_purchases DROP COLUMN expired_at")
