"""Bring a database to the newest schema, one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from db.engine import make_engine
from db.grants import grant

LOCK = 0x636F7572736167  # any number, as long as every process takes the same one
NEWEST = "head"
MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database_url: str, revision: str = NEWEST) -> list[str]:
    """Run the migrations that are missing; a second process waits for the first, then finds nothing to do.

    At the newest schema, give the roles of the processes what `db.grants` says; return those of the roles that exist.
    """
    return _run(database_url, command.upgrade, revision)


def downgrade(database_url: str, revision: str) -> None:
    """Go back to `revision` ("base" = an empty database); for a release that is taken back."""
    _run(database_url, command.downgrade, revision)


def _run(database_url: str, act: Callable[[Config, str], None], revision: str) -> list[str]:
    engine = make_engine(database_url, pool_size=1, lock_timeout_ms=0, statement_timeout_ms=0)
    try:
        with engine.begin() as connection:
            # Held until the commit, so a process that dies gives the lock back.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            act(config, revision)
            return grant(connection) if revision == NEWEST else []
    finally:
        engine.dispose()
