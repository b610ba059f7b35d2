"""A key that makes a request happen once names that request: what it said is kept beside the key."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

KEYS = """
CREATE TABLE request_keys (
  door text NOT NULL,
  scope text NOT NULL,
  key text NOT NULL,
  said text NOT NULL,
  used_at timestamptz NOT NULL,
  PRIMARY KEY (door, scope, key)
);
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(KEYS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE request_keys")
