"""Relays are woken by the database, and without that they find everything a little later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise, takewhile
from time import monotonic

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from application.deliver_webhooks import deliver
from application.publish_outbox import ToLog, publish
from db.grants import RELAY
from db.notices import ring
from gateways.webhooks import Webhooks
from tests.build import run, value
from tests.events.receiver import receiving
from tests.events.relays import add, pool, relaying, seal, tell
from tests.waiting import eventually

__all__ = ["pool"]

LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND datname = current_database()"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :role AND datname = current_database()"


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay looks by itself long after a test has given up."""
    for part in ("publish_outbox", "deliver_webhooks"):
        monkeypatch.setattr(f"application.{part}._LOOK_AGAIN", 1000.0)


@contextmanager
def hearing(database_url: str) -> Iterator[psycopg.Connection]:
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as listener:
        listener.execute("LISTEN outbox")
        listener.execute("LISTEN webhook_deliveries")
        yield listener


def heard(listener: psycopg.Connection) -> list[str]:
    """The channels of all notices committed by now, which come in order: they are before one of our own."""
    listener.execute("NOTIFY outbox, 'the last'")
    before = takewhile(lambda notice: notice.payload != "the last", listener.notifies(timeout=30))
    return [notice.channel for notice in before]


def test_a_commit_says_once_that_there_are_events_and_one_without_says_nothing(
    engine: Engine, database_url: str
) -> None:
    add = text("INSERT INTO outbox (key, type, occurred_at) SELECT :key, 'A', now() WHERE :wanted")
    with hearing(database_url) as listener:
        with engine.begin() as connection:
            for key in ("purchase:1:A", "purchase:2:A"):
                connection.execute(add, {"key": key, "wanted": True})
            assert heard(listener) == []
        assert heard(listener) == ["outbox"]
        with engine.begin() as connection:
            connection.execute(add, {"key": "purchase:3:A", "wanted": False})
        with engine.connect() as connection:
            connection.execute(add, {"key": "purchase:3:A", "wanted": True})
            connection.rollback()
        assert heard(listener) == []


@pytest.mark.usefixtures("never")
async def test_events_are_published_and_delivered_at_once_and_one_after_the_other(
    engine: Engine, pool: AsyncEngine
) -> None:
    with receiving() as target:
        await add(pool, "target", target.url)
        async with relaying(pool):
            await eventually(lambda: value(engine, LISTENERS) == 1)
            for number in range(5):
                tell(engine, f"purchase:1:E{number}")
                await eventually(lambda number=number: f"purchase:1:E{number}" in target.took())
            tell(engine, *(f"purchase:2:E{number}" for number in range(5)))
            await eventually(lambda: len(target.took()) == 10)
        assert target.took()[5:] == [f"purchase:2:E{number}" for number in range(5)]


@pytest.mark.usefixtures("never")
async def test_what_failed_is_tried_again_when_it_is_due(
    engine: Engine, pool: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.webhooks._PAUSE", 0.3)
    with receiving() as target:
        target.answers = lambda _: 503 if len(target.tries) < 3 else 204
        await add(pool, "target", target.url)
        tell(engine, "purchase:1:A", "purchase:1:B")
        async with relaying(pool):
            await eventually(lambda: target.took() == ["purchase:1:A", "purchase:1:B"])
        assert target.tries == ["purchase:1:A"] * 3 + ["purchase:1:B"]


@pytest.mark.usefixtures("never")
async def test_whoever_lost_the_connection_looks_as_soon_as_there_is_another(
    engine: Engine, pool: AsyncEngine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the server, which takes no connections for a while."""
    monkeypatch.setattr("db.notices._AGAIN_AFTER", 0.05)
    name, server = make_url(database_url).database, make_url(database_url).set(database="postgres")
    with receiving() as target:
        await add(pool, "target", target.url)
        async with relaying(pool):
            await eventually(lambda: value(engine, LISTENERS) == 1)
            with psycopg.connect(
                server.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
            ) as connection:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
                run(engine, CUT, role=RELAY)
                tell(engine, "purchase:1:A")
                await asyncio.sleep(0.4)  # some tries to connect
                assert value(engine, LISTENERS) == 0
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
            await eventually(lambda: target.took() == ["purchase:1:A"])
            tell(engine, "purchase:2:A")
            await eventually(lambda: len(target.took()) == 2)


async def test_without_notices_everything_is_found_by_looking(
    engine: Engine, pool: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("publish_outbox", "deliver_webhooks"):
        monkeypatch.setattr(f"application.{part}._LOOK_AGAIN", 0.2)
    with receiving() as target:
        await add(pool, "target", target.url)
        async with unheard(pool):
            tell(engine, "purchase:1:A", "purchase:1:B")
            await eventually(lambda: len(target.took()) == 2)
            tell(engine, "purchase:1:C")
            await eventually(lambda: len(target.took()) == 3)
        assert target.took() == [f"purchase:1:{kind}" for kind in "ABC"]


@asynccontextmanager
async def unheard(pool: AsyncEngine) -> AsyncGenerator[None]:
    """A relay behind a pooler that passes no notices on."""
    stop, webhooks = asyncio.Event(), Webhooks(private=True)
    tasks = [
        asyncio.create_task(publish(pool, ToLog(), stop, asyncio.Event())),
        asyncio.create_task(deliver(pool, webhooks, seal(), stop, asyncio.Event())),
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        await webhooks.close()


async def test_there_are_growing_pauses_between_tries_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.notices._AGAIN_AFTER", 0.02)
    tried: list[float] = []

    async def refuse(_: AsyncEngine) -> None:
        tried.append(monotonic())
        raise OSError

    monkeypatch.setattr("db.notices.connected", refuse)
    listening = asyncio.create_task(ring(None, {"outbox": asyncio.Event()}))  # pyright: ignore[reportArgumentType]
    await eventually(lambda: len(tried) == 6)
    listening.cancel()
    pauses = [after - before for before, after in pairwise(tried)]
    assert all(pause >= 0.02 * 2**number for number, pause in enumerate(pauses))
