"""`coursaga bench`: measure how fast purchases are and what they cost, beside the same activities called plainly, or by another engine."""

from __future__ import annotations

import asyncio
import json as json_text
import os
import platform
import secrets
import shutil
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.bench.asked import Amounts, Parts
from cli.bench.bulk import measure_bulk
from cli.bench.load import measure_load
from cli.bench.marketplace import LESSONS, Market, marketplace
from cli.bench.matching import measure_matching
from cli.bench.measure import Watched, measure_plain, measure_temporal
from cli.bench.page import write
from cli.bench.parts import measure_parts, sides_of
from cli.bench.parts_report import tell_parts
from cli.bench.report import tell, watching
from cli.marketplace.command import run_import
from cli.output import FINE, Json, print_json
from cli.own_stack import INTERRUPTED, end_like_ctrl_c, end_runs, let_it_stop
from runtime.embedded.down import wipe
from runtime.embedded.stack import Stack
from runtime.errors import CannotRun
from runtime.settings import Settings, load_settings

_WARM = 3  # the first purchases load code and open connections; they are not measured
_MAX_ALONE = 20
_MOST_SLOTS = 20  # threads, and connections, of each of the three; all of them share one server's 100
_AMOUNTS, _PARTS = Amounts(), Parts()
_PORTS = ("api_port", "postgres_port", "temporal_port", "temporal_ui_port", "provider_port")


def bench(*, amounts: Amounts = _AMOUNTS, parts: Parts = _PARTS, json: Json = False) -> int:
    """Buy on a stack of its own, through the API, then call the same activities plainly: times and costs of both.

    Then one verb for many parked purchases at once, and what others feel of the API meanwhile; very many callers at once;
    at last the query of matching, among many trainers with 30 slots each.

    With --peers, --growth, --parked-runs or --enrolled it does these instead.

    Touches nothing that is set up here, but uses TEMPORAL_ADDRESS if set. Leaves nothing running and no data.
    """
    if parts.write_docs and not parts.any:
        raise CannotRun("--write-docs writes what parts have measured: ask for --peers or another of them, too")
    with _home() as home, _interrupts():
        settings = _own(home, min(amounts.in_flight, _MOST_SLOTS) if parts.any else None)
        alone, sides = min(_MAX_ALONE, amounts.purchases), sides_of(parts)
        counts = {"warm": _WARM, "alone": alone, "many": amounts.purchases, "visitors": parts.enrolled}
        counts["parked"] = parts.parked_runs if parts.any else amounts.parked
        market = marketplace(datetime.now(UTC).date(), sides, mark=secrets.token_hex(3), **counts)
        machine = {"cpus": os.cpu_count(), "loadBefore": os.getloadavg()[0], "python": platform.python_version()}
        try:
            many = len(sides) * (_WARM + alone + amounts.purchases) + parts.parked_runs + parts.enrolled
            with watching(many) as watched:
                said = _run(settings, market, amounts, parts, watched)
        except KeyboardInterrupt:
            return INTERRUPTED
    asked = {
        "purchases": amounts.purchases, "inFlight": amounts.in_flight, "alone": alone, "lessonsEach": LESSONS,
        "machine": machine,
    }  # fmt: skip
    report = {**said, **asked} if parts.any else {**asked, **said}
    if parts.write_docs:
        write(report)
    if json:
        print_json(report)
    else:
        (tell_parts if parts.any else tell)(report)
    return FINE


def _run(settings: Settings, market: Market, amounts: Amounts, parts: Parts, watched: Watched) -> dict[str, Any]:
    """Start the stack, measure what is asked for, and stop it whatever happens; return the figures."""
    stack = Stack(settings, workers=1, say=watched.say)
    try:
        stack.start()
        file = settings.coursaga_home / "marketplace.json"
        file.write_text(json_text.dumps(market.content))
        watched.say("importing a marketplace")
        asyncio.run(run_import(file, stack.settings))
        return (
            measure_parts(stack, market, amounts, parts, watched)
            if parts.any
            else _usual(stack, market, amounts, watched)
        )
    finally:
        let_it_stop()
        if settings.temporal_address:
            asyncio.run(end_runs(settings, "the bench ended"))
        stack.stop()


def _usual(stack: Stack, market: Market, amounts: Amounts, watched: Watched) -> dict[str, Any]:
    settings, running, in_flight = stack.settings, stack.running, amounts.in_flight
    ours, plainly = market.sides["temporal"], market.sides["plain"]
    temporal, names = asyncio.run(measure_temporal(settings, running, ours, in_flight, watched))
    plain = measure_plain(settings, running, plainly, in_flight, watched)
    bulk = asyncio.run(measure_bulk(settings, running.api, market.parked, watched))
    load = (amounts.callers, amounts.seconds)
    crowd = asyncio.run(measure_load(settings, running.api, ours.many, *load, watched))
    matching = asyncio.run(measure_matching(running.database_url, amounts.trainers, watched))
    return {
        "activities": names,
        "temporal": temporal,
        "plain": plain,
        "bulk": bulk,
        "load": crowd,
        "matching": matching,
    }


def _own(home: Path, slots: int | None) -> Settings:
    """Return the bench's settings: a home, a database and a provider of its own, free ports, the real time.

    `slots`: of the worker; None: as it is set here.

    Raises CannotRun.
    """
    os.environ.pop("COURSAGA_TODAY", None)  # the stack's processes inherit it; a clock that stands measures nothing
    settings = load_settings()
    if settings.coursaga_env == "production":
        raise CannotRun("the bench is for development: unset COURSAGA_ENV")
    queue = f"bench-{secrets.token_hex(3)}" if settings.temporal_address else settings.task_queue
    return settings.with_values(
        **dict.fromkeys(_PORTS, 0),
        api_host="127.0.0.1",
        coursaga_home=home,
        database_url=None,
        provider_url=None,
        task_queue=queue,
        activity_slots=slots or settings.activity_slots,
        auto_approve_allocations=True,
        dev_auth=True,
    )


@contextmanager
def _home() -> Generator[Path]:
    home = Path(tempfile.mkdtemp(prefix="coursaga-bench-"))
    home.chmod(0o755)  # PostgreSQL runs under another account when this one is root
    try:
        yield home
    finally:
        wipe(home)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _interrupts() -> Generator[None]:
    """Let SIGTERM end the block like Ctrl-C, in order, with everything stopped; restore the handlers after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    end_like_ctrl_c()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
