"""Servers and workers that go away in the middle of many purchases, started through the door: nobody notices in the end.

The servers are crashed for real and come back on the same data and port; the workers are the product's own command.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from db.engine import make_engine
from db.migrate import upgrade
from runtime.postgres import EmbeddedPostgres, wipe_postgres
from runtime.settings import Settings
from runtime.temporal import connect_to
from runtime.temporal_server import TemporalServer
from tests.build import value
from tests.faults.endings import require_completed, require_taken_back
from tests.faults.products import WorkerCommand, buy, crash, gone, the_door
from tests.faults.purchases import Purchase
from tests.faults.waiting import happens
from tests.faults.world import TODAY, World
from tests.gateways.process import ProviderProcess
from tests.invariants import violations, violations_of_runs
from workflows.policies import Rules
from workflows.steps import CONFIRM_PAYMENT, CREATE_PURCHASE


@dataclass(frozen=True)
class Scale:
    """How many purchases, and how long the servers stay away, in seconds."""

    purchases: int
    postgres_away: float
    temporal_away: float
    rules: Rules


FULL = Scale(50, 60, 30, Rules())
SMALL = Scale(12, 8, 4, Rules(attempt=4, quick_pause=0.2, trouble_pause=1, trouble_pause_most=2))


@dataclass(frozen=True)
class Site:
    """Servers of this test's own, as they are deployed, and the world of purchases on them."""

    postgres: EmbeddedPostgres
    temporal: TemporalServer
    settings: Settings
    world: World
    home: Path

    def worker(self) -> WorkerCommand:
        """One more worker, not started."""
        return WorkerCommand(self.settings, self.home / "workers.log")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the servers keep their data; PostgreSQL's account has to pass through, so it is none of pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="coursaga-outages-"))
    folder.chmod(0o755)
    yield folder
    wipe_postgres(folder)
    shutil.rmtree(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def site(folder: Path) -> AsyncIterator[Site]:
    """PostgreSQL that syncs to its disk, Temporal on its file, the provider's process."""
    with ExitStack() as running:
        postgres, temporal, provider = EmbeddedPostgres(folder), TemporalServer(folder), ProviderProcess(folder)
        for server in (postgres, temporal, provider):
            running.callback(server.stop)
            server.start()
        upgrade(postgres.url)
        engine = make_engine(postgres.url, pool_size=5)
        running.callback(engine.dispose)
        settings = Settings.model_validate(
            {
                "database_url": postgres.url,
                "temporal_address": temporal.address,
                "provider_url": provider.url,
                "coursaga_today": TODAY,
            }
        )
        client = await connect_to(temporal.address, settings.temporal_namespace)
        yield Site(postgres, temporal, settings, World(engine, postgres.url, provider, client, folder), folder)


@pytest.mark.parametrize(
    "scale", [pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.soak)]
)
async def test_servers_that_crash_in_the_middle_of_purchases_cost_nobody_anything(scale: Scale, site: Site) -> None:
    purchases = [Purchase(site.world, is_open=number % 5 != 4) for number in range(scale.purchases)]
    first, second = purchases[::2], purchases[1::2]
    with ExitStack() as running:
        workers = [site.worker() for _ in range(2)]
        for worker in workers:
            running.callback(worker.kill)
            worker.start()
        async with the_door(site.settings, scale.rules) as door:
            buying = _buy_all(door, first)
            await _in_the_middle(first)
            await _away(site.postgres, signal.SIGQUIT, scale.postgres_away)
            site.world.engine.dispose()  # its connections were to the crashed one
            buying += _buy_all(door, second)
            await _in_the_middle(second)
            await _away(site.temporal, signal.SIGKILL, scale.temporal_away)
            await asyncio.gather(*buying)
        assert all(worker.alive for worker in workers), "the workers outlive their servers"
        await _all_as_if_nothing_had_happened(site.world, purchases)
    parked = [await purchase.times_parked() for purchase in first]
    assert max(parked) >= 1, "the outage was long enough to be felt"


async def test_workers_killed_at_random_in_the_middle_of_purchases_cost_nobody_anything(site: Site) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    chance = random.Random(seed)
    purchases: list[Purchase] = []
    worker = site.worker()
    with ExitStack() as running:
        running.callback(worker.kill)
        worker.start()
        async with the_door(site.settings, replace(SMALL.rules, attempt=3)) as door:
            for _ in range(5):
                batch = [Purchase(site.world, is_open=number != 3) for number in range(4)]
                await asyncio.gather(*_buy_all(door, batch))
                reached = chance.randrange(1, 20)
                await happens(lambda batch=batch, reached=reached: _steps(batch) >= reached)
                worker.kill()
                worker.start()
                purchases += batch
        await _all_as_if_nothing_had_happened(site.world, purchases)


def _buy_all(door: httpx2.AsyncClient, purchases: list[Purchase]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(buy(door, purchase.order.payment_id)) for purchase in purchases]


async def _in_the_middle(purchases: list[Purchase]) -> None:
    """Waits until a third of the work is done, and sees that it is not all of it."""
    await happens(lambda: _steps(purchases) >= 2 * len(purchases))
    assert _ended(purchases) < len(purchases)


async def _away(server: EmbeddedPostgres | TemporalServer, how: signal.Signals, seconds: float) -> None:
    """The server crashes, stays away and comes back on the same data and port."""
    crash(server, how)
    await gone(server)
    await asyncio.sleep(seconds)
    server.start()


def _steps(purchases: list[Purchase]) -> int:
    return _count("SELECT count(*) FROM purchase_steps WHERE purchase_id = ANY(:ids)", purchases)


def _ended(purchases: list[Purchase]) -> int:
    return _count(
        "SELECT count(*) FROM purchase_starts WHERE purchase_id = ANY(:ids) AND ending IS NOT NULL", purchases
    )


def _count(query: str, purchases: list[Purchase]) -> int:
    return value(purchases[0].world.engine, query, ids=[purchase.order.purchase_id for purchase in purchases])


async def _all_as_if_nothing_had_happened(world: World, purchases: list[Purchase]) -> None:
    """The open courses are there in full, the closed ones were given back, and nobody else was."""
    gates = [CONFIRM_PAYMENT.name, CREATE_PURCHASE.name]
    for purchase in purchases:
        if purchase.is_open:
            await require_completed(purchase, noted=True)
        else:
            assert await purchase.ending() == "COURSE_UNAVAILABLE"
            require_taken_back(purchase, gates[:1], gates, "COURSE_UNAVAILABLE", noted=True)
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
