"""Measure each way once: warm up, one purchase at a time, then many at once with the costs read before and after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.api_client import Api
from cli.bench import without_workflow
from cli.bench.endings import endings
from cli.bench.logs_aside import logs_to
from cli.bench.marketplace import Orders
from cli.bench.meter import Timed, average, cpu_ms_each, cpu_seconds, peak_memory_mb
from cli.bench.story import story
from cli.bench.with_workflow import Shop, activities_of, histories, wait_until_closed
from cli.identity import signing
from db.engine import make_async_engine, make_engine
from db.starts import record_starts
from domain.purchase import PurchaseOrder
from gateways.payments import HttpPaymentProvider
from runtime.clock import clock
from runtime.settings import Settings
from runtime.state import Running
from runtime.temporal import connect
from workflows.policies import Rules

_HTTP_SECONDS = Rules().attempt - 2  # as the worker waits for the provider


@dataclass(frozen=True)
class Watched:
    """Callbacks for whoever watches: `say` gets each phase, `advance` is called for each purchase that is done."""

    say: Callable[[str], None]
    advance: Callable[[], None]


async def measure_temporal(
    settings: Settings, running: Running, orders: Orders, in_flight: int, watched: Watched
) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of purchases through the API, and the names of the activities that one of them ran in order."""
    pids = {name: running.pids[name] for name in running.pids if name != "up"}
    client = await connect(settings)
    engine = make_async_engine(running.database_url, pool_size=1)
    async with (
        Api(running.api, signing(settings, "bench"), patient=True) as api,
        endings(running.database_url, watched.advance) as seen,
    ):
        shop = Shop(api, engine, seen)
        watched.say("warming up")
        await shop.buy(orders.warm, 1)
        watched.say("through Temporal, one at a time")
        alone = await shop.buy(orders.alone, 1)
        watched.say(f"through Temporal, {in_flight} in flight")
        await wait_until_closed(client, orders.alone)
        before = cpu_seconds(pids)
        many = await shop.buy(orders.many, in_flight)
        await wait_until_closed(client, orders.many[-in_flight:])
        after = cpu_seconds(pids)
    await engine.dispose()
    kept = await histories(client, orders.many)
    figures = {
        **_times(alone, many),
        "cpuMs": cpu_ms_each(before, after, len(orders.many)),
        "workerPeakMb": peak_memory_mb(running.pids["worker"]),
        "historyEvents": average([events for events, _ in kept]),
        "historyBytes": average([size for _, size in kept]),
    }
    return figures, await activities_of(client, orders.many[-1])


def measure_plain(
    settings: Settings, running: Running, orders: Orders, in_flight: int, watched: Watched
) -> dict[str, Any]:
    """Return the figures of the same activities without workflows: same order, pool size, provider and logs as the
    worker."""
    pids = {name: running.pids[name] for name in ("provider", "postgres")}
    engine = make_engine(running.database_url, pool_size=settings.activity_slots, planned_once=True)
    with (
        logs_to(settings.coursaga_home / "logs" / "plain.log"),
        HttpPaymentProvider(running.provider_url, timeout=_HTTP_SECONDS) as provider,
    ):
        steps = story(engine, provider, clock(settings))
        asyncio.run(_open(running.database_url, [*orders.warm, *orders.alone, *orders.many]))
        watched.say("warming up")
        without_workflow.buy(steps, orders.warm, 1, watched.advance)
        watched.say("plain calls, one at a time")
        with without_workflow.round_trips(engine) as sent:
            alone = without_workflow.buy(steps, orders.alone, 1, watched.advance)
        watched.say(f"plain calls, {in_flight} in flight")
        before, mine = cpu_seconds(pids), time.process_time()
        many = without_workflow.buy(steps, orders.many, in_flight, watched.advance)
        caller = cpu_ms_each({"caller": mine}, {"caller": time.process_time()}, len(orders.many))
        others = cpu_ms_each(before, cpu_seconds(pids), len(orders.many))
    engine.dispose()
    trips = round(sum(sent.values()) / len(orders.alone), 1)
    return {**_times(alone, many), "cpuMs": caller | others, "sqlRoundTrips": trips}


def _times(alone: Timed, many: Timed) -> dict[str, float]:
    return {
        "perSecond": many.per_second(),
        "p50Ms": many.ms(0.5),
        "p99Ms": many.ms(0.99),
        "aloneP50Ms": alone.ms(0.5),
    }


async def _open(database_url: str, orders: Sequence[PurchaseOrder]) -> None:
    """Write the rows that the API writes before it starts a workflow; they are not part of the plain calls."""
    engine = make_async_engine(database_url, pool_size=1)
    await record_starts(engine, orders, datetime.now(UTC))
    await engine.dispose()
