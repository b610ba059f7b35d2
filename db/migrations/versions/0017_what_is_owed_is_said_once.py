"""What of a line goes back is said once, at the first look at the provider, and whether its money was known of before."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

DEBTS = """
CREATE TABLE refund_debts (
  purchase_id text REFERENCES purchase_starts,
  attempt bigint,
  known_paid boolean NOT NULL,
  settled_at_minor bigint,
  PRIMARY KEY (purchase_id, attempt),
  CONSTRAINT settled_at_not_negative CHECK (settled_at_minor >= 0)
)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(DEBTS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE refund_debts")
