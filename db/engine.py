"""Engines: how this program talks to PostgreSQL. Nothing connects before the first statement."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection as AsyncDbConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

DEADLINE = 9.0  # seconds; the server's own timeouts come first, if it is alive


def make_engine(
    database_url: str, *, pool_size: int = 10, lock_timeout_ms: int = 4_000, statement_timeout_ms: int = 8_000
) -> Engine:
    """An engine for threads; `pool_size` = the threads that may use it at once, more of them wait.

    No pre-ping: it would cost a round trip per use. A broken connection is trouble, the step is retried, and the
    pool drops all its connections with it. Both timeouts stay below the 10 s that one try of a step may take.
    """
    options = _options(pool_size, lock_timeout_ms, statement_timeout_ms)
    return create_engine(_psycopg(database_url), **options)


def make_async_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    lock_timeout_ms: int = 4_000,
    statement_timeout_ms: int = 8_000,
    read_only: bool = False,
) -> AsyncEngine:
    """The same for the API's event loop; what the server does not answer within DEADLINE fails here, too.

    `read_only`: of all its connections and for good. To make and unmake one so would leave it to others half done, when
    who asked is gone in between.
    """
    options = _options(pool_size, lock_timeout_ms, statement_timeout_ms)
    options["connect_args"]["async_creator_fn"] = _Bounded.connect
    if read_only:
        options["connect_args"]["options"] += " -c default_transaction_read_only=on"
    return create_async_engine(_psycopg(database_url), **options)


class _Bounded(AsyncConnection[Any]):
    """Hangs up on a server that is silent for too long: one that stands still keeps no timeout of its own."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- psycopg calls it so
        """Called by psycopg around all that it waits for; `timeout` only of notices, for which silence is fine."""
        late = asyncio.get_running_loop().call_later((timeout or 0) + DEADLINE, self._hang_up)
        try:
            return await super().wait(gen, interval, timeout)
        finally:
            late.cancel()

    def _hang_up(self) -> None:
        # Psycopg then reads the end of the connection and says so; closed under it, the socket would never wake it.
        with socket.socket(fileno=os.dup(self.pgconn.socket)) as other:
            other.shutdown(socket.SHUT_RDWR)


def at_once(engine: Engine) -> Connection:
    """A connection on which every statement is a transaction of its own: one round trip, no BEGIN, no COMMIT."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


async def connected(engine: AsyncEngine) -> AsyncDbConnection:
    """A connection; a cancel waits until it is there and gives it back. Half made, nobody would close it."""
    connecting = asyncio.ensure_future(_connect(engine))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(SQLAlchemyError):
            await (await connecting).close()
        raise


async def _connect(engine: AsyncEngine) -> AsyncDbConnection:
    return await engine.connect()


def _psycopg(database_url: str) -> URL:
    return make_url(database_url).set(drivername="postgresql+psycopg")


def _options(pool_size: int, lock_timeout_ms: int, statement_timeout_ms: int) -> dict[str, Any]:
    settings = {
        "timezone": "UTC",
        "lock_timeout": lock_timeout_ms,
        "statement_timeout": statement_timeout_ms,
        "idle_in_transaction_session_timeout": 15_000 if statement_timeout_ms else 0,
    }
    return {
        "pool_size": pool_size,
        "max_overflow": 0,
        "hide_parameters": True,  # errors and logs must not hold what a statement was about
        "pool_timeout": 5,
        "connect_args": {
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 10,  # else a host that lost its power is waited for for hours
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "application_name": "coursaga",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    }
