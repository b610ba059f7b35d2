"""Read the progress events of a purchase, and listen for new ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection as Psycopg
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from db.engine import connected
from db.rows import rows_as
from db.tables import PurchaseProgress

_SILENCE = 30.0  # seconds

_AFTER = (
    select(
        col(PurchaseProgress.number), col(PurchaseProgress.kind), col(PurchaseProgress.facts), col(PurchaseProgress.at)
    )
    .where(
        col(PurchaseProgress.purchase_id) == bindparam("purchase_id"),
        col(PurchaseProgress.number) > bindparam("after"),
    )
    .order_by(col(PurchaseProgress.number))
)


@dataclass(frozen=True)
class ProgressEvent:
    """One thing that changed. `kind`: started, step, attention or ended; numbers go up by one per purchase."""

    number: int
    kind: str
    facts: dict[str, Any]
    at: datetime


def steps_told(told: Iterable[ProgressEvent]) -> list[ProgressEvent]:
    """Return the events of steps that were done, and of undone ones that had been done before."""
    done: set[str] = set()
    found: list[ProgressEvent] = []
    for each in told:
        if each.kind != "step":
            continue
        name, state = each.facts["step"], each.facts["state"]
        if state == "done" or name in done:
            found.append(each)
        (done.add if state == "done" else done.discard)(name)
    return found


async def progress_after(conn: AsyncConnection, purchase_id: str, after: int) -> list[ProgressEvent]:
    """Return all progress events after this number, in order."""
    return rows_as(ProgressEvent, await conn.execute(_AFTER, {"purchase_id": purchase_id, "after": after}))


@asynccontextmanager
async def notices(engine: AsyncEngine) -> AsyncGenerator[AsyncGenerator[str]]:
    """Listen for ids of purchases whose changes are committed from when the block is entered. Holds a connection."""
    connection = await connected(engine)
    try:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        driver: Psycopg[Any] = raw
        await driver.set_autocommit(True)
        await driver.execute("LISTEN purchase_progress")
        yield _heard(driver)
    finally:
        await connection.invalidate()  # it listens: nobody else may get it
        await connection.close()


async def _heard(driver: Psycopg[Any]) -> AsyncGenerator[str]:
    """Yield ids for ever. After _SILENCE the server is asked for a sign of life, or a dead one would be listened to."""
    while True:
        async for notice in driver.notifies(timeout=_SILENCE):
            yield notice.payload
        await driver.execute("SELECT 1")
