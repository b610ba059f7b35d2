"""A second person's yes to a bulk covers what matched when it was said: those purchases are kept beside it."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# A yes of before covers nothing more than what was done with it.
COVERS = "ALTER TABLE bulk_requests ADD COLUMN covers text[]"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(COVERS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE bulk_requests DROP COLUMN covers")
