"""A relay in process: without Kafka, free to tell loopback addresses; and what a test of it needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest_asyncio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from application.deliver_webhooks import deliver, keep_sealed
from application.publish_outbox import ToLog, publish
from db.engine import make_async_engine
from db.grants import API, RELAY
from db.notices import ring
from db.sealing import Seal
from db.webhooks import add_target, remove_target
from gateways.webhooks import Webhooks
from tests.build import run
from tests.events.receiver import SECRET
from tests.roles import as_role
from tests.tokens import secrets_keys

BOUND = 60


@pytest_asyncio.fixture(loop_scope="session")
async def pool(database_url: str) -> AsyncGenerator[AsyncEngine]:
    engine = make_async_engine(as_role(RELAY, database_url), pool_size=10)
    yield engine
    await engine.dispose()


def seal() -> Seal:
    """Of this test process."""
    return Seal([secrets_keys()])


def tell(engine: Engine, *keys: str) -> None:
    """Events of the outbox, committed one after the other."""
    for key in keys:
        run(engine, "INSERT INTO outbox (key, type, data, occurred_at) VALUES (:key, :type, '{\"n\": 1}', now())",
            key=key, type=key.rpartition(":")[2])  # fmt: skip


async def add(pool: AsyncEngine, target: str, url: str, event_types: Sequence[str] = ()) -> None:
    """A target that is told with the secret receivers check."""
    async with _api(pool) as api:
        assert await add_target(api, target, url, seal().close(SECRET), event_types)


async def remove(pool: AsyncEngine, target: str) -> None:
    """It is told nothing any more."""
    async with _api(pool) as api:
        assert await remove_target(api, target)


@asynccontextmanager
async def _api(pool: AsyncEngine) -> AsyncGenerator[AsyncEngine]:
    """The same database, for the process that knows targets."""
    engine = make_async_engine(as_role(API, pool.url.render_as_string(hide_password=False)), pool_size=1)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def relaying(
    pool: AsyncEngine, sealed_by: Seal | None = None, webhooks: Webhooks | None = None
) -> AsyncGenerator[None]:
    """A relay that runs meanwhile. It listens, and looks by itself every few seconds, as the process does."""
    stop, webhooks, sealed_by = asyncio.Event(), webhooks or Webhooks(private=True), sealed_by or seal()
    committed, owed = asyncio.Event(), asyncio.Event()
    parts = (
        publish(pool, ToLog(), stop, committed),
        deliver(pool, webhooks, sealed_by, stop, owed),
        keep_sealed(pool, sealed_by, stop),
    )
    tasks = [asyncio.create_task(each) for each in parts]
    listening = asyncio.create_task(ring(pool, {"outbox": committed, "webhook_deliveries": owed}))
    try:
        async with asyncio.timeout(BOUND):
            yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        listening.cancel()
        await asyncio.wait([listening])
        await webhooks.close()


def impatient(engine: Engine) -> None:
    """What failed is due again at once: no test waits for the pauses. A try under way may so be made once more."""
    # Not a row that the relay is writing: it writes in the event loop that waits for us.
    run(
        engine,
        "UPDATE webhook_deliveries SET next_try_at = now() WHERE (target_id, event_id) IN (SELECT target_id, event_id"
        " FROM webhook_deliveries WHERE delivered_at IS NULL AND answer IS NOT NULL FOR UPDATE SKIP LOCKED)",
    )
    wake(engine)


def wake(engine: Engine) -> None:
    """A relay looks again at what is due, which a test has changed behind its back."""
    run(engine, "NOTIFY webhook_deliveries")
