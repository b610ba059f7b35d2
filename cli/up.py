"""`coursaga up` and `coursaga down`: start and stop the whole stack on this machine."""

from __future__ import annotations

import json as json_text
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape
from rich.prompt import Confirm

from cli.output import FAILED, FINE, Json, print_json, print_line, to_people
from runtime.embedded.down import stop, wipe
from runtime.progress import progress
from runtime.settings import load_settings
from runtime.state import Running


class StopAsked(BaseException):
    """Raised on SIGINT or SIGTERM; not an Exception, so that no code on the way takes it for trouble of its own."""


def up(*, json: Json = False) -> int:
    """Start PostgreSQL, Temporal, the stand-in payment provider, worker and API; keep them running until Ctrl-C.

    Prints one line, or one JSON object, once the API is ready. Data and logs are kept in COURSAGA_HOME.
    """
    from runtime.embedded.stack import Stack  # here, so that `down` loads neither migrations nor a Temporal client

    settings = load_settings()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ask_to_stop)
    try:
        with progress() as say:
            stack = Stack(settings, say=say)
            running = stack.start()
        try:
            _tell(running, as_json=json)
            while True:
                stack.tend()
                time.sleep(0.2)
        finally:
            stack.stop()
    except StopAsked:
        return FINE


def down(
    *,
    wipe_data: Annotated[bool, Parameter(name="--wipe", negative=())] = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> int:
    """Stop the stack that runs on COURSAGA_HOME; fine if none runs.

    Parameters
    ----------
    wipe_data
        Then delete its data and logs. On a terminal it asks before.
    yes
        Do not ask.
    """
    home = load_settings().coursaga_home
    if wipe_data and not yes and sys.stdin.isatty() and home.exists() and not _agreed(home):
        to_people().print("nothing was stopped, nothing deleted")
        return FAILED
    stopped = stop(home)
    wiped = wipe_data and wipe(home)
    if json:
        print_json({"stopped": stopped is not None, "pid": stopped, "wiped": wiped, "home": str(home)})
    else:
        what = f"{home}: " + (f"stopped process {stopped}" if stopped else "nothing was running")
        print_line(what + (", data deleted" if wiped else ", no data of a stack is there" if wipe_data else ""))
    return FINE


def _agreed(home: Path) -> bool:
    return Confirm.ask(f"Delete all data and logs in {escape(str(home))}?", console=to_people(), default=False)


def _ask_to_stop(number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):  # stopping takes a moment and is not to be stopped
        signal.signal(again, signal.SIG_IGN)
    raise StopAsked


def _tell(running: Running, *, as_json: bool) -> None:
    if as_json:
        line = json_text.dumps(running.report())
    else:
        links = {"api": running.api, "docs": running.docs, "temporal ui": running.temporal_ui}
        links |= {"temporal": running.temporal_address, "stop with": f"Ctrl-C or kill {os.getpid()}"}
        line = "ready  " + "  ".join(f"{name} {link}" for name, link in links.items() if link)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
