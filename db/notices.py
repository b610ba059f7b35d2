"""Hear what is committed, by NOTIFY, on a connection that does nothing else; for what is looked for by itself, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString, NoReturn

import structlog
from psycopg import AsyncConnection as Psycopg
from psycopg import Error, Notify
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import connected

_SILENCE = 30.0  # seconds
_AGAIN_AFTER = 1.0  # seconds, when the connection is lost ...
_LONGEST_PAUSE = 30.0  # ... doubling up to this while there is none

_log = structlog.get_logger()


async def listen(
    engine: AsyncEngine,
    channels: tuple[LiteralString, ...],
    missed: Callable[[], None],
    heard: Callable[[Notify], None],
) -> NoReturn:
    """Listen until cancelled: call `heard` for each notice, and `missed` whenever some may have been missed.

    Holds a connection of the engine. When it is lost, another is opened, with growing pauses; behind a pooler that passes
    no notices on, there are none. So who listens also looks by itself now and then.
    """
    pause = _AGAIN_AFTER
    while True:
        try:
            async with _notices(engine, channels) as notices:
                pause = _AGAIN_AFTER
                missed()
                async for notice in notices:
                    heard(notice)
        except (SQLAlchemyError, Error, OSError) as error:
            _log.warning("listener_lost", channels=channels, error=type(error).__name__)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def ring(engine: AsyncEngine, bells: Mapping[LiteralString, asyncio.Event]) -> NoReturn:
    """Listen until cancelled: ring the bell of each channel that a notice comes on, all when one may have been missed."""

    def missed() -> None:
        for bell in bells.values():
            bell.set()

    by_name = dict[str, asyncio.Event](bells.items())
    await listen(engine, tuple(bells), missed, lambda notice: by_name[notice.channel].set())


@asynccontextmanager
async def _notices(engine: AsyncEngine, channels: tuple[LiteralString, ...]) -> AsyncGenerator[AsyncGenerator[Notify]]:
    """Listen for what is committed from when the block is entered."""
    connection = await connected(engine)
    try:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        driver: Psycopg[Any] = raw
        await driver.set_autocommit(True)
        for channel in channels:
            await driver.execute(f"LISTEN {channel}")
        yield _heard(driver)
    finally:
        await connection.invalidate()  # it listens: nobody else may get it
        await connection.close()


async def _heard(driver: Psycopg[Any]) -> AsyncGenerator[Notify]:
    """Yield for ever. After _SILENCE the server is asked for a sign of life, or a dead one would be listened to."""
    while True:
        async for notice in driver.notifies(timeout=_SILENCE):
            yield notice
        await driver.execute("SELECT 1")
