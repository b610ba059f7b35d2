"""`coursaga bench`: measure how fast purchases are and what they cost, beside the same activities called plainly."""

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
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.bench.bulk import measure_bulk
from cli.bench.load import measure_load
from cli.bench.marketplace import LESSONS, Market, marketplace
from cli.bench.matching import measure_matching
from cli.bench.measure import Watched, measure_plain, measure_temporal
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
_PORTS = ("api_port", "postgres_port", "temporal_port", "temporal_ui_port", "provider_port")

Count = Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))]


def bench(
    *,
    purchases: Count = 300,
    in_flight: Count = 20,
    parked: Count = 200,
    callers: Count = 200,
    seconds: Count = 60,
    trainers: Count = 5000,
    json: Json = False,
) -> int:
    """Buy on a stack of its own, through the API, then call the same activities plainly: times and costs of both.

    Then one verb for many parked purchases at once, and what others feel of the API meanwhile; very many callers at once;
    at last the query of matching, among many trainers with 30 slots each.

    Touches nothing that is set up here, but uses TEMPORAL_ADDRESS if set. Leaves nothing running and no data.

    Parameters
    ----------
    purchases
        How many to buy side by side, each way; before them up to 20 are bought one at a time.
    in_flight
        How many at most are under way at a time.
    parked
        How many purchases wait for a trainer when the bulk act comes.
    callers
        How many students look at their purchases at once, each as fast as it is answered.
    seconds
        For how long they do.
    trainers
        Among how many trainers one is looked for.
    """
    with _home() as home, _interrupts():
        settings = _own(home)
        alone = min(_MAX_ALONE, purchases)
        counts = {"warm": _WARM, "alone": alone, "many": purchases, "parked": parked}
        market = marketplace(datetime.now(UTC).date(), mark=secrets.token_hex(3), **counts)
        machine = {"cpus": os.cpu_count(), "loadBefore": os.getloadavg()[0], "python": platform.python_version()}
        try:
            with watching(2 * (_WARM + alone + purchases)) as watched:
                said = _run(settings, market, in_flight, (callers, seconds), trainers, watched)
        except KeyboardInterrupt:
            return INTERRUPTED
    asked = {"purchases": purchases, "inFlight": in_flight, "alone": alone, "lessonsEach": LESSONS}
    report = {**asked, "machine": machine, **said}
    if json:
        print_json(report)
    else:
        tell(report)
    return FINE


def _run(
    settings: Settings, market: Market, in_flight: int, load: tuple[int, int], trainers: int, watched: Watched
) -> dict[str, Any]:
    """Start the stack, measure both ways, and stop it whatever happens; return the figures."""
    stack = Stack(settings, workers=1, say=watched.say)
    try:
        running = stack.start()
        file = settings.coursaga_home / "marketplace.json"
        file.write_text(json_text.dumps(market.content))
        watched.say("importing a marketplace")
        asyncio.run(run_import(file, stack.settings))
        temporal, names = asyncio.run(measure_temporal(stack.settings, running, market.temporal, in_flight, watched))
        plain = measure_plain(stack.settings, running, market.plain, names, in_flight, watched)
        bulk = asyncio.run(measure_bulk(stack.settings, running.api, market.parked, watched))
        crowd = asyncio.run(measure_load(stack.settings, running.api, market.temporal.many, *load, watched))
        matching = asyncio.run(measure_matching(running.database_url, trainers, watched))
        return {
            "activities": names,
            "temporal": temporal,
            "plain": plain,
            "bulk": bulk,
            "load": crowd,
            "matching": matching,
        }
    finally:
        let_it_stop()
        if settings.temporal_address:
            asyncio.run(end_runs(settings, "the bench ended"))
        stack.stop()


def _own(home: Path) -> Settings:
    """Return the bench's settings: a home, a database and a provider of its own, free ports, the real time.

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
