"""Read whether the database has the schema this code was written for."""

from __future__ import annotations

from functools import cache

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.migrate import MIGRATIONS


@cache
def newest_revision() -> str:
    """Return the id of the last migration of this code."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head() or ""


async def revision_of(conn: AsyncConnection) -> str | None:
    """Return the id of the last migration that ran on the database, None when none ever did."""
    if (await conn.execute(text("SELECT to_regclass('alembic_version')"))).scalar_one() is None:
        return None
    return (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
