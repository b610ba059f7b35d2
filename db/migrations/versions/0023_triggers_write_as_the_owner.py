"""What only triggers write is written by the owner of the tables: no process needs to be able to write it."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# They write balances, opening movements, slots as they were, and progress.
WRITERS = ("move_coins", "open_coins", "keep_slot", "progress_of_start", "progress_of_step", "progress_of_attention")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for name in WRITERS:
        # With a path of its own: else whoever fires it could choose which tables the names mean.
        op.execute(f"ALTER FUNCTION {name}() SECURITY DEFINER SET search_path = public, pg_temp")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in WRITERS:
        op.execute(f"ALTER FUNCTION {name}() SECURITY INVOKER RESET search_path")
