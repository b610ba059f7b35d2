"""What a door was asked for, where no payment line says it: the item, the metadata of the request, who asked and why."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

REQUESTS = """
CREATE TABLE purchase_requests (
  purchase_id text PRIMARY KEY REFERENCES purchase_starts,
  item_type text NOT NULL,
  item_id text NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  supersede boolean NOT NULL DEFAULT false,
  actor text NOT NULL,
  reason text,
  requested_at timestamptz NOT NULL,
  CONSTRAINT item_type_known CHECK (item_type IN ('course', 'subject', 'bundle', 'test')),
  CONSTRAINT who_supersedes_says_why CHECK (NOT supersede OR reason IS NOT NULL)
);
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON purchase_requests
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(REQUESTS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE purchase_requests")
