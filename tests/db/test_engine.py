"""Engines: their sessions are set as promised, and a broken connection is dropped."""

from __future__ import annotations

from datetime import UTC

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from db.engine import at_once, make_async_engine, make_engine
from tests import build


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
    with at_once(engine) as connection:
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


async def test_the_async_engine_has_the_same_session(database_url: str) -> None:
    engine = make_async_engine(database_url, pool_size=1)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SHOW lock_timeout"))).scalar_one() == "4s"
    await engine.dispose()
