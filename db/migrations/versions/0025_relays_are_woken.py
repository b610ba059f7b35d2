"""Relays are woken when there is something to publish or to deliver: they need not look for it many times a second.

Triggers say so, so no writer can forget it. A transaction says it once per channel, when it commits, however many rows it adds.
"""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = ("outbox", "webhook_deliveries")  # and the channels

WAKE = """
CREATE FUNCTION wake_relays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(TG_TABLE_NAME, '');
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(WAKE)
    for table in TABLES:
        # For each row: a statement that adds none wakes nobody.
        op.execute(f"CREATE TRIGGER wakes_relays AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION wake_relays()")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in TABLES:
        op.execute(f"DROP TRIGGER wakes_relays ON {table}")
    op.execute("DROP FUNCTION wake_relays")
