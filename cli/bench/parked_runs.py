"""`--parked-runs`: what very many purchases that wait for a trainer cost, and how they go on when trainers come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import text

from application.wake_parked import WakeFilter, sweep
from application.wiring import open_services
from cli.bench.checked import require_lessons
from cli.bench.endings import STALLED_SECONDS, Endings, endings
from cli.bench.failed import BenchFailed
from cli.bench.marketplace import teachers_of_parked
from cli.bench.measure import Watched
from cli.bench.meter import memory_mb, peak_memory_mb
from cli.bench.sides import Ours, open_rows
from cli.bench.sizes import measure_sizes
from cli.marketplace.command import run_import
from domain.purchase import PurchaseOrder
from runtime.embedded.stack import Stack

_LOOK_EVERY = 2.0  # seconds; a look counts rows that are few and indexed, and nobody waits for it to the millisecond
_PARKED = text("SELECT count(*) FROM refused_matchings")
_WAITS_FOR = "NO_TRAINER_AVAILABLE"


async def measure_parked_runs(
    stack: Stack, parked: Sequence[PurchaseOrder], first: PurchaseOrder, in_flight: int, watched: Watched
) -> dict[str, Any]:
    """Park all of these, start the worker anew and buy `first`, let trainers come and wake all; return memory and times.

    Raises BenchFailed when they do not park, or do not all complete afterwards.
    """
    settings, running, each = stack.settings, stack.running, [*parked, first]
    async with AsyncExitStack() as opened:
        seen = await opened.enter_async_context(endings(running.database_url, watched.advance))
        services = await opened.enter_async_context(open_services(settings))
        ours = Ours(services, seen)
        await open_rows(services.engine, each)
        await ours.know(each)
        before = memory_mb(stack.running.pids["worker"])
        began = time.perf_counter()
        watched.say(f"parking {len(parked)} purchases")
        await ours.start(parked, in_flight)
        await _all_parked(ours, len(parked))
        said: dict[str, Any] = {"parked": len(parked), "parkSeconds": _since(began), "workerBeforeMb": before}
        said["workerParkedMb"] = memory_mb(stack.running.pids["worker"])
        said["sizesParked"] = await measure_sizes(services.temporal, parked[:20])
        said |= await _start_anew(stack, ours, first, watched)
        said |= await _wake(stack, ours, parked, seen, watched)
        await require_lessons(services.engine, each)
        said["sizesDone"] = await measure_sizes(services.temporal, parked[:20])
    return said


async def _all_parked(ours: Ours, number: int) -> None:
    seen, moved = -1, time.monotonic()
    while True:
        async with ours.services.reading() as connection:
            parked = int(await connection.scalar(_PARKED) or 0)
        if parked >= number:
            return
        if parked != seen:
            seen, moved = parked, time.monotonic()
        if time.monotonic() - moved > STALLED_SECONDS:
            raise BenchFailed(f"{parked} of {number} purchases are parked and no more come")
        await asyncio.sleep(_LOOK_EVERY)


async def _start_anew(stack: Stack, ours: Ours, first: PurchaseOrder, watched: Watched) -> dict[str, Any]:
    """Stop the worker and start it; a purchase is bought at once, to see from when on it works."""
    watched.say("starting the worker anew")
    stack.stop_part("worker")
    began = time.perf_counter()
    stack.start_part("worker")
    await ours.buy([first], 1)
    return {"startUpSeconds": _since(began), "workerStartedMb": memory_mb(stack.running.pids["worker"])}


async def _wake(
    stack: Stack, ours: Ours, parked: Sequence[PurchaseOrder], seen: Endings, watched: Watched
) -> dict[str, Any]:
    """Let trainers come and wake all that wait, as the API does after such a change."""
    await run_import(_teachers(stack.settings.coursaga_home), stack.settings)
    watched.say("trainers came: waking all")
    began = time.perf_counter()
    services = ours.services
    woken = await sweep(services.temporal, services.task_queue, WakeFilter([_WAITS_FOR], "trainers came"))
    said = {"woken": woken, "wakeSeconds": _since(began)}
    await seen.all_of([order.purchase_id for order in parked])
    worker = stack.running.pids["worker"]
    return {**said, "doneSeconds": _since(began), "workerPeakMb": peak_memory_mb(worker)}


def _teachers(home: Path) -> Path:
    file = home / "trainers.json"
    file.write_text(json.dumps(teachers_of_parked()))
    return file


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 2)
