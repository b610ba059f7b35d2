"""Make the engines by which this program talks to PostgreSQL; none of them connects before its first statement."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection as AsyncDbConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

DEADLINE = 9.0  # seconds; the server's own timeouts come first, if it is alive


def make_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    lock_timeout_ms: int = 4_000,
    statement_timeout_ms: int = 8_000,
    planned_once: bool = False,
) -> Engine:
    """Make an engine for threads; at most `pool_size` threads use it at once, others wait.

    No pre-ping: it would cost a round trip per use. A broken connection is trouble, the step is retried, and the pool
    drops all its connections with it. Both timeouts stay below the 10 s that one try of a step may take.

    `planned_once`: each connection plans a statement at its first use, for any values, and never again. For few
    statements that come over and over and find their rows by key; one that searches needs a plan for its values.
    """
    options = _options(pool_size, lock_timeout_ms, statement_timeout_ms)
    if planned_once:
        options["connect_args"]["prepare_threshold"] = 0
        options["connect_args"]["options"] += " -c plan_cache_mode=force_generic_plan"
    engine = create_engine(_psycopg(database_url), **options)
    event.listen(engine, "handle_error", _drop_old_plans)
    return engine


def make_async_engine(
    database_url: str,
    *,
    pool_size: int = 10,
    lock_timeout_ms: int = 4_000,
    statement_timeout_ms: int = 8_000,
    read_only: bool = False,
) -> AsyncEngine:
    """Make an engine for the API's event loop; what the server does not answer within DEADLINE fails here, too.

    `read_only` makes all its connections read-only for good. To switch a connection for one use only would leave it
    half switched to others when the caller is cancelled in between.
    """
    options = _options(pool_size, lock_timeout_ms, statement_timeout_ms)
    options["connect_args"]["async_creator_fn"] = _Bounded.connect
    if read_only:
        options["connect_args"]["options"] += " -c default_transaction_read_only=on"
    engine = create_async_engine(_psycopg(database_url), **options)
    event.listen(engine.sync_engine, "handle_error", _drop_old_plans)
    return engine


class _Bounded(AsyncConnection[Any]):
    """Hangs up on a server that is silent for too long: a server that hangs keeps no timeout of its own."""

    async def wait(self, gen: Any, interval: float = DEADLINE, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- psycopg calls it so
        """Wait for psycopg, at most DEADLINE. It gives a `timeout` only for notices, which is added to DEADLINE.

        It need not wake up ten times a second to see whether it is interrupted: a cancelled task is woken by its loop.
        """
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
    """Open a connection on which every statement is a transaction of its own: one round trip, no BEGIN, no COMMIT."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


async def connected(engine: AsyncEngine) -> AsyncDbConnection:
    """Open a connection. A cancel waits until it is open and closes it: nobody else would close a half-open one."""
    connecting = asyncio.ensure_future(_connect(engine))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(SQLAlchemyError):
            await (await connecting).close()
        raise


async def _connect(engine: AsyncEngine) -> AsyncDbConnection:
    return await engine.connect()


def _drop_old_plans(trouble: ExceptionContext) -> None:
    """Drop a connection, and all others of its pool, whose prepared statements do not fit any more; the next try is new.

    So it is after a migration that changed what a statement returns, or behind a pooler that changed the session.
    """
    if isinstance(
        trouble.original_exception, (FeatureNotSupported, InvalidSqlStatementName, DuplicatePreparedStatement)
    ):
        trouble.is_disconnect = True


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
