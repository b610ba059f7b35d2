"""A private link to a calendar, one per student and per trainer: what opens it is stored as a hash."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE calendar_links (
    owner text NOT NULL CONSTRAINT calendar_link_owner CHECK (owner IN ('student', 'trainer')),
    owner_id text NOT NULL,
    token_hash text NOT NULL UNIQUE,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    PRIMARY KEY (owner, owner_id)
)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE calendar_links")
