"""Servers and workers that go away in the middle of many purchases, started through the door: nobody notices in the end.

The servers are crashed for real and come back on the same data and port; the workers are the product's own command.
"""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import ExitStack
from dataclasses import dataclass, replace

import httpx2
import pytest

from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.temporal_server import TemporalServer
from tests.build import value
from tests.faults.endings import require_completed, require_taken_back
from tests.faults.products import buy, crash, gone, the_door
from tests.faults.purchases import Purchase
from tests.faults.site import Site
from tests.faults.world import World
from tests.invariants import violations, violations_of_runs
from tests.waiting import eventually
from workflows.policies import Rules
from workflows.steps import CONFIRM_PAYMENT


@dataclass(frozen=True)
class Scale:
    """How many purchases, and how long the servers stay away, in seconds."""

    purchases: int
    postgres_away: float
    temporal_away: float
    rules: Rules


FULL = Scale(50, 60, 30, Rules())
SMALL = Scale(12, 8, 4, Rules(attempt=4, quick_pause=0.2, trouble_pause=1, trouble_pause_most=2))


@pytest.mark.parametrize(
    "scale", [pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.soak)]
)
async def test_servers_that_crash_in_the_middle_of_purchases_cost_nobody_anything(scale: Scale, site: Site) -> None:
    purchases = [
        Purchase(site.world, is_open=number % 5 != 4, approved_with_the_hold=True) for number in range(scale.purchases)
    ]
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
                batch = [Purchase(site.world, is_open=number != 3, approved_with_the_hold=True) for number in range(4)]
                await asyncio.gather(*_buy_all(door, batch))
                reached = chance.randrange(1, 20)
                await eventually(lambda batch=batch, reached=reached: _steps(batch) >= reached)
                worker.kill()
                worker.start()
                purchases += batch
        await _all_as_if_nothing_had_happened(site.world, purchases)


def _buy_all(door: httpx2.AsyncClient, purchases: list[Purchase]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(buy(door, purchase.order.payment_id)) for purchase in purchases]


async def _in_the_middle(purchases: list[Purchase]) -> None:
    """Waits until a third of the work is done, and sees that it is not all of it."""
    await eventually(lambda: _steps(purchases) >= 2 * len(purchases))
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
    gates = [CONFIRM_PAYMENT.name]
    for purchase in purchases:
        if purchase.is_open:
            await require_completed(purchase)
        else:
            assert await purchase.ending() == "COURSE_UNAVAILABLE"
            require_taken_back(purchase, gates, "COURSE_UNAVAILABLE")
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
