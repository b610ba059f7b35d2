"""The secrets of webhook targets are stored sealed; a target that is removed keeps none.

The key is not here, so those of before are sealed by the relay, at once and until none is left.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# What squawk is told to let pass: the table has a row per receiver, and code of before always says a secret.
CHANGES = (
    """-- squawk-ignore ban-drop-not-null
       ALTER TABLE webhook_targets ALTER COLUMN secret DROP NOT NULL""",
    "ALTER TABLE webhook_targets ADD COLUMN sealed_secret text",
    "UPDATE webhook_targets SET secret = NULL WHERE removed_at IS NOT NULL",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE webhook_targets ADD CONSTRAINT one_secret_while_live
         CHECK (removed_at IS NOT NULL OR num_nonnulls(secret, sealed_secret) = 1)""",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for change in CHANGES:
        op.execute(change)


def downgrade() -> None:
    """Fails, and changes nothing, while a live target's secret is sealed: code of before would sign with the seal."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE webhook_targets DROP CONSTRAINT one_secret_while_live")
    op.execute("UPDATE webhook_targets SET secret = '' WHERE removed_at IS NOT NULL")
    op.execute("ALTER TABLE webhook_targets ALTER COLUMN secret SET NOT NULL")
    op.execute("ALTER TABLE webhook_targets DROP COLUMN sealed_secret")
