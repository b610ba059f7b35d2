"""Engines: their sessions are set as promised, and a broken connection is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC

import pytest
from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.exc import InternalError, NotSupportedError, OperationalError

from db.engine import at_once, make_async_engine, make_engine
from tests import build
from tests.roles import owner_of


@pytest.mark.parametrize(
    ("setting", "value"),
    [("timezone", "UTC"), ("lock_timeout", "4s"), ("statement_timeout", "8s"), ("application_name", "coursaga")],
)
def test_a_session_is_set_as_promised(engine: Engine, setting: str, value: str) -> None:
    assert build.value(engine, f"SHOW {setting}") == value


def test_times_come_back_in_utc(engine: Engine) -> None:
    assert build.value(engine, "SELECT now()").tzinfo.utcoffset(None) == UTC.utcoffset(None)


def test_a_plain_postgresql_url_is_fine(database_url: str) -> None:
    plain = make_engine(database_url.replace("postgresql+psycopg://", "postgresql://"), pool_size=1)
    assert build.value(plain, "SELECT 1") == 1
    plain.dispose()


def test_a_broken_connection_fails_once_and_the_next_use_has_a_new_one(database_url: str, engine: Engine) -> None:
    small = make_engine(database_url, pool_size=1)
    broken = build.value(small, "SELECT pg_backend_pid()")
    build.value(engine, "SELECT pg_terminate_backend(:pid, 5000)", pid=broken)
    with pytest.raises(OperationalError):
        build.value(small, "SELECT 1")
    assert build.value(small, "SELECT pg_backend_pid()") != broken
    small.dispose()


def test_a_statement_at_once_is_committed_when_it_returns(engine: Engine) -> None:
    with at_once(owner_of(engine)) as connection:
        connection.execute(text("INSERT INTO holidays VALUES ('2026-12-25')"))
        assert build.value(engine, "SELECT count(*) FROM holidays") == 1


def test_a_transaction_after_a_statement_at_once_is_a_transaction_again(database_url: str) -> None:
    small = make_engine(database_url, pool_size=1)
    with at_once(small) as connection:
        connection.execute(text("SELECT 1"))
    with small.connect() as connection:
        connection.execute(text("INSERT INTO holidays VALUES ('2026-12-25')"))
        connection.rollback()
    assert build.value(small, "SELECT count(*) FROM holidays") == 0
    small.dispose()


def test_workers_statements_are_planned_at_their_first_use_for_any_values(engine: Engine) -> None:
    with at_once(engine) as connection:
        for number in (1, 2):
            connection.execute(text("SELECT id FROM catalogue_items WHERE price_minor = :price"), {"price": number})
            plans = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'SELECT id%'"
            assert connection.execute(text(plans)).all() == [(number, 0)]


@pytest.mark.parametrize("opened", [at_once, Engine.begin], ids=["at once", "in a transaction"])
def test_a_statement_that_returns_other_columns_after_a_migration_fails_once(
    opened: Callable[[Engine], AbstractContextManager[Connection]], engine: Engine
) -> None:
    """Those of all connections, else every one of them would fail once, or for ever."""

    def columns(connection: Connection) -> int:
        return len(connection.execute(text("SELECT * FROM holidays")).keys())

    with opened(engine) as one, opened(engine) as another:
        before = columns(one)
        assert columns(another) == before
    build.run(engine, "ALTER TABLE holidays ADD COLUMN note text")
    with pytest.raises(NotSupportedError, match="cached plan must not change result type"), opened(engine) as one:
        columns(one)
    with opened(engine) as one, opened(engine) as another:
        assert columns(one) == columns(another) == before + 1


async def test_so_it_is_for_the_api(database_url: str, engine: Engine) -> None:
    pool = make_async_engine(database_url, pool_size=1)

    async def columns() -> int:
        async with pool.begin() as connection:
            return len((await connection.execute(text("SELECT * FROM holidays"))).keys())

    for _ in range(7):  # by then it is prepared
        before = await columns()
    build.run(engine, "ALTER TABLE holidays ADD COLUMN note text")
    with pytest.raises(NotSupportedError):
        await columns()
    assert await columns() == before + 1
    await pool.dispose()


async def test_the_async_engine_has_the_same_session(database_url: str) -> None:
    engine = make_async_engine(database_url, pool_size=1)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SHOW lock_timeout"))).scalar_one() == "4s"
    await engine.dispose()


async def test_connections_of_readers_can_only_read(database_url: str) -> None:
    readers = make_async_engine(database_url, pool_size=1, read_only=True)
    async with readers.connect() as connection:
        with pytest.raises(InternalError, match="read-only transaction"):
            await connection.execute(text("INSERT INTO holidays VALUES ('2026-12-25')"))
    await readers.dispose()


@asynccontextmanager
async def muted(database_url: str, frozen: asyncio.Event) -> AsyncIterator[str]:
    """The URL of a server that takes everything and answers nothing any more once `frozen` is set."""
    real = make_url(database_url)

    async def passes(source: asyncio.StreamReader, target: asyncio.StreamWriter, mute: bool) -> None:
        while said := await source.read(65536):
            if not (mute and frozen.is_set()):
                target.write(said)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead, behind = await asyncio.open_connection(real.host, real.port)
        await asyncio.gather(passes(reader, behind, False), passes(ahead, writer, True))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield real.set(host=host, port=port).render_as_string(hide_password=False)


async def test_a_server_that_stands_still_is_given_up_and_used_again_when_it_answers(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.DEADLINE", 0.3)
    frozen = asyncio.Event()
    async with muted(database_url, frozen) as url:
        engine = make_async_engine(url, pool_size=1)
        async with engine.connect() as connection:
            before = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            frozen.set()
            with pytest.raises(OperationalError):
                await connection.execute(text("SELECT 1"))
        frozen.clear()
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one() != before
        await engine.dispose()
