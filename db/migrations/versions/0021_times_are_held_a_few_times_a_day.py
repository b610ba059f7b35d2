"""Holds of a student are counted over a day, however many there have ever been."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

INDEX = """-- squawk-ignore require-concurrent-index-creation
CREATE INDEX holds_of_student ON allocations (student_id, course_id, created_at)
    WHERE hold_expires_at IS NOT NULL AND purchase_id IS NULL"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(INDEX)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP INDEX holds_of_student")
