"""The one place where a purchase is looked up for a caller: what is not theirs is answered as what is not there."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from application.caller import Caller
from application.errors import NotFound
from db.reads.starts import StartRow, start_of


async def found(conn: AsyncConnection, purchase_id: str, who: Caller) -> StartRow:
    """The start of a purchase the caller may reach. Raises NotFound."""
    start = await start_of(conn, purchase_id, who.own)
    if start is None:
        raise NotFound(code="PURCHASE_NOT_FOUND", detail="No purchase with this id was ever started.")
    return start
