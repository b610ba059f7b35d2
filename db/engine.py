"""Engines: how this program talks to PostgreSQL. Nothing connects before the first statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


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
    database_url: str, *, pool_size: int = 10, lock_timeout_ms: int = 4_000, statement_timeout_ms: int = 8_000
) -> AsyncEngine:
    """The same for the API's event loop."""
    options = _options(pool_size, lock_timeout_ms, statement_timeout_ms)
    return create_async_engine(_psycopg(database_url), **options)


def at_once(engine: Engine) -> Connection:
    """A connection on which every statement is a transaction of its own: one round trip, no BEGIN, no COMMIT."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


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
            "application_name": "coursaga",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    }
