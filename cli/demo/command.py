"""`coursaga demo`: start the whole system on this machine and show three purchases on it as they happen."""

from __future__ import annotations

import asyncio
import json as json_text
import os
import secrets
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cli.api_client import Api
from cli.demo.chapter import Chapter
from cli.demo.marketplace import marketplace
from cli.demo.screen import Screen, screen_for
from cli.demo.story import PHASE_SECONDS, Story, within
from cli.identity import signing
from cli.marketplace.command import run_import
from cli.output import FINE, Json, Terminal, print_json
from cli.own_stack import INTERRUPTED, end_like_ctrl_c, end_runs, let_it_stop
from runtime.clock import clock
from runtime.embedded.down import stop, wipe
from runtime.embedded.stack import Stack
from runtime.errors import CannotRun
from runtime.settings import Settings, load_settings
from runtime.state import AlreadyRuns, Home
from runtime.temporal import connect

_PORTS = ("api_port", "postgres_port", "temporal_port", "temporal_ui_port", "provider_port")


@dataclass
class DemoResult:
    """What the demo has done so far, for --json. `over`: the story has come to its end."""

    home: Path
    where: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    chapters: list[Chapter] = field(default_factory=list[Chapter])
    over: bool = False

    def report(self, error: str | None) -> dict[str, Any]:
        """Return the object that --json prints."""
        said = {"ok": error is None, "error": error, "home": str(self.home), **self.where, "seconds": self.seconds}
        return {**said, "purchases": [chapter.report() for chapter in self.chapters]}

    @contextmanager
    def timed(self, what: str) -> Generator[None]:
        """Record under `what` how many seconds the block takes."""
        began = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - began, 1)


def demo(*, once: Annotated[bool, Parameter(negative=())] = False, json: Json = False) -> int:
    """Start everything on this machine and watch three purchases: one completes, one is refunded, one is mended.

    Uses a home of its own, COURSAGA_HOME/demo, emptied first; the ports are free ones unless set. On a terminal it
    stays up afterwards, to look around, until Ctrl-C. Leaves nothing running.

    Parameters
    ----------
    once
        End after the story, also on a terminal.
    json
        Print one JSON object of what happened on stdout, the story on stderr; ends after the story.
    """
    settings = _own(load_settings())
    told, screen = DemoResult(settings.coursaga_home), screen_for(Terminal(stderr=json))
    error, code = None, FINE
    end_like_ctrl_c()
    try:
        _play(settings, screen, told, stays=sys.stdout.isatty() and not once and not json)
    except KeyboardInterrupt:
        if not told.over:
            error, code = "interrupted", INTERRUPTED
    except CannotRun as cannot:
        if not json:
            raise
        error, code = str(cannot), cannot.exit_code
    if json:
        print_json(told.report(error))
    elif error:
        screen.say(f"{error}; everything was stopped")
    else:
        screen.say(f"stopped; to go on with its data: {_command(told.home)} up")
    return code


def _play(settings: Settings, screen: Screen, told: DemoResult, *, stays: bool) -> None:
    """Start the stack, show the story, wait if it `stays`, and stop everything whatever happens."""
    _empty(settings.coursaga_home)
    stack = Stack(settings, workers=1, say=screen.phase)
    try:
        with told.timed("start"):
            told.where = {**stack.start().report()}
        del told.where["ready"], told.where["databaseUrl"]  # the one goes without saying, the other holds a password
        screen.say(f"+ PostgreSQL, Temporal, payment provider, worker and API are up ({told.seconds['start']} s)")
        with told.timed("story"):
            asyncio.run(_tell(stack, screen, told))
        told.over = True
        _farewell(screen, told, stays=stays)
        while stays:
            stack.tend()
            time.sleep(0.2)
    finally:
        let_it_stop()
        screen.close()
        try:
            if settings.temporal_address:
                asyncio.run(end_runs(settings, "the demo ended"))
        finally:
            stack.stop()
            screen.close()


async def _tell(stack: Stack, screen: Screen, told: DemoResult) -> None:
    settings, logs = stack.settings, told.home / "logs"
    market = marketplace(clock(settings)().date(), f"-{secrets.token_hex(3)}" if _external(settings) else "")
    file = told.home / "marketplace.json"
    file.write_text(json_text.dumps(market, indent=1))
    async with within(PHASE_SECONDS, "importing the marketplace", logs / "provider.log"):
        await run_import(file, settings)
    counts = ", ".join(f"{len(market[kind])} {kind}" for kind in ("students", "courses", "trainers", "payments"))
    screen.say(f"+ a small marketplace is imported: {counts}")
    client = await connect(settings)
    async with Api(stack.running.api, signing(settings, "demo"), patient=True) as api:
        await Story(api, client, stack.running, market, screen, logs, told.chapters).tell()


def _own(settings: Settings) -> Settings:
    """Return the demo's settings: its own home and free ports; no database or provider that is set is used.

    Raises CannotRun.
    """
    if settings.coursaga_env == "production":
        raise CannotRun("the demo is for development: unset COURSAGA_ENV")
    free = {port: 0 for port in _PORTS if port not in settings.model_fields_set}
    queue = f"demo-{secrets.token_hex(3)}" if settings.temporal_address else settings.task_queue
    return settings.with_values(
        **free,
        coursaga_home=settings.coursaga_home / "demo",
        database_url=None,
        provider_url=None,
        task_queue=queue,
        auto_approve_allocations=True,
        dev_auth=True,
    )


def _external(settings: Settings) -> bool:
    """Return whether the Temporal server is an external one, so that ids must not meet those of an earlier demo."""
    return settings.task_queue.startswith("demo-")


def _empty(home: Path) -> None:
    """End what a killed demo left and delete its data. Raises AlreadyRuns when one runs."""
    if Home(home).locked():
        raise AlreadyRuns(f"a demo already runs on {home}: end it with Ctrl-C there, or {_command(home)} down")
    stop(home)
    wipe(home)


def _command(home: Path) -> str:
    """Return how to call `coursaga` on this home from the current folder."""
    return f"COURSAGA_HOME={_short(home)} {_short(Path(sys.executable).with_name('coursaga'))}"


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _farewell(screen: Screen, told: DemoResult, *, stays: bool) -> None:
    screen.say()
    screen.say(f"API docs      {told.where['docs']}")
    screen.say(f"Temporal UI   {told.where['temporalUi'] or 'see your server'}")
    for chapter in told.chapters:
        if chapter.link:
            screen.say(f"  purchase {chapter.number}  {chapter.link}")
    if not stays:
        return
    coursaga = _command(told.home)
    screen.say()
    screen.say("Try in another terminal (three more payments wait, each with a surprise):")
    for words in ("purchases start --all", "purchases list", f"purchases show {told.chapters[1].workflow_id}"):
        screen.say(f"  {coursaga} {words}")
    screen.say("Ctrl-C stops everything.")
