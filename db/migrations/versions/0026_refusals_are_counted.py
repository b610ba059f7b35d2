"""Refusals of a message are counted where a restarted consumer finds them.

Dead letters keep the headers, tell a value that is null from an empty one, and say when the topic of dead letters did not take them whole.
"""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(
        "ALTER TABLE dead_letters ADD COLUMN headers jsonb, ADD COLUMN topic_says text,"
        " ADD COLUMN no_value boolean DEFAULT false NOT NULL"
    )
    op.execute(
        """
        CREATE TABLE refused_messages (
          topic text NOT NULL,
          topic_partition bigint NOT NULL,
          topic_offset bigint NOT NULL,
          digest text NOT NULL,
          tries bigint NOT NULL,
          code text NOT NULL,
          detail text NOT NULL,
          settled boolean DEFAULT false NOT NULL,
          PRIMARY KEY (topic, topic_partition, topic_offset)
        )
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE refused_messages")
    op.execute("ALTER TABLE dead_letters DROP COLUMN headers, DROP COLUMN topic_says, DROP COLUMN no_value")
