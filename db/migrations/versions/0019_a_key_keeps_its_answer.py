"""A key at a door that finds or makes a purchase keeps which one it was answered with, whatever becomes of that."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# One of before is answered by what is there at its next request, as until now.
ANSWERED = "ALTER TABLE request_keys ADD COLUMN answered text"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(ANSWERED)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE request_keys DROP COLUMN answered")
