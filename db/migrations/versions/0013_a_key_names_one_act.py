"""A request key names one act: the audit keeps its values, bulks are on record."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

VALUES = "ALTER TABLE operator_acts ADD COLUMN values jsonb"
BULKS = """
CREATE TABLE bulk_requests (
  request_key text PRIMARY KEY,
  verb text NOT NULL,
  said jsonb NOT NULL,
  actor text NOT NULL,
  second_actor text,
  reason text NOT NULL,
  asked_at timestamptz NOT NULL,
  confirmed_at timestamptz,
  CONSTRAINT two_people_are_two CHECK (second_actor <> actor),
  CONSTRAINT confirmed_by_somebody CHECK ((second_actor IS NULL) = (confirmed_at IS NULL))
)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (VALUES, BULKS):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE bulk_requests")
    op.execute("ALTER TABLE operator_acts DROP COLUMN values")
