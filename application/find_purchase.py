"""The one place where a purchase is looked up for a caller: one they may not reach is answered as not there."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from application.caller import Caller
from application.errors import NotFound
from db.reads.starts import StartRow, start_of


async def found(conn: AsyncConnection, purchase_id: str, who: Caller) -> StartRow:
    """Return the start row of a purchase that the caller may reach. Raises NotFound for any other."""
    start = await start_of(conn, purchase_id, who.own)
    if start is None:
        raise NotFound(code="PURCHASE_NOT_FOUND", detail="No purchase with this id was ever started.")
    return start
