"""Run a process that serves until it is asked to stop: its settings, its logs, its exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine

from runtime.errors import CannotRun
from runtime.logs import set_up_logs
from runtime.settings import Settings, load_settings
from runtime.state import attached

if sys.platform != "win32":  # where there is no uvloop
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop


def run(name: str, serve: Callable[[Settings], Coroutine[None, None, None]]) -> int:
    """Serve, and return the exit code: 0 stopped as asked, 1 a setting is wrong, 3 a server is not reachable."""
    try:
        settings = attached(load_settings())
        set_up_logs(settings.log_level, settings.log_format)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve(settings))
    except CannotRun as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - logs may not be set up yet
        return error.exit_code
    return 0
