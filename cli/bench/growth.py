"""`--growth`: what a purchase costs when few are stored, and when very many are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from application.wiring import open_services
from cli.bench.checked import require_lessons
from cli.bench.endings import endings
from cli.bench.marketplace import LESSONS, Orders
from cli.bench.measure import Watched
from cli.bench.meter import Timed
from cli.bench.sides import Ours, open_rows
from cli.bench.stored import store
from cli.bench.turns import Meter, server_pids, share
from runtime.settings import Settings
from runtime.state import Running
from workflows.steps import TABLE

STARTS_OF_THREE = 10  # stored starts to three stored purchases: the others were refused


async def measure_growth(
    settings: Settings, running: Running, orders: Orders, sizes: Sequence[int], in_flight: int, watched: Watched
) -> dict[str, Any]:
    """Store purchases up to each of the sizes, and buy as many at each; return what one cost there, and how it grew.

    Raises BenchFailed if a purchase is not whole.
    """
    every = [*orders.warm, *orders.alone, *orders.many]
    steps = [step.name for step in TABLE]
    at: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        seen = await stack.enter_async_context(endings(running.database_url, watched.advance))
        services = await stack.enter_async_context(open_services(settings))
        ours, meter = Ours(services, seen), Meter(seen, server_pids(running))
        await open_rows(services.engine, every)
        await ours.know(every)
        await ours.buy(orders.warm, in_flight)
        before = (0, 0)
        for number, size in enumerate(sizes):
            watched.say(f"{size} purchases are stored")
            starts = (before[1] + 1, size * STARTS_OF_THREE // 3 - size)
            store(running.database_url, size, before[0] + 1, starts, steps, LESSONS)
            before = (size, starts[1])
            watched.say(f"with {size} stored: one at a time, then {in_flight} in flight")
            alone, _ = await meter.turn(ours, share(orders.alone, number, len(sizes)), 1)
            many, cpu = await meter.turn(ours, share(orders.many, number, len(sizes)), in_flight)
            at.append(_figures(size, size + starts[1], alone, many, cpu))
        await require_lessons(services.engine, every)
    return {"at": at, "times": _times(at[0], at[-1])}


def _figures(size: int, starts: int, alone: Timed, many: Timed, cpu: Mapping[str, float]) -> dict[str, Any]:
    return {
        "stored": size, "lessons": size * LESSONS, "starts": starts,
        "p50AloneMs": alone.ms(0.5), "perSecond": many.per_second(), "p50Ms": many.ms(0.5), "p95Ms": many.ms(0.95),
        "cpuMsPerPurchase": dict(cpu), "cpuMsTotal": round(sum(ms for name, ms in cpu.items() if name != "idle"), 1),
    }  # fmt: skip


def _times(first: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, float]:
    """Return how many times more a purchase costs with most stored than with fewest."""
    figures = ("cpuMsTotal", "p50AloneMs", "p50Ms")
    told = {figure: round(last[figure] / first[figure], 2) for figure in figures if first[figure]}
    most, least = (each["cpuMsPerPurchase"].get("postgres") for each in (last, first))
    return {**told, "postgresCpu": round(most / least, 2)} if most and least else told
