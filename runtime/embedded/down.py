"""Stop the stack of a home from outside, and delete its data."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from runtime.child_processes import identity
from runtime.embedded.postgres import wipe_postgres
from runtime.errors import CannotRun
from runtime.state import Home

_PATIENCE = 120.0
_MARKS = ("up.lock", "dev-key.json", "secrets-key")  # one of them is in every home


def stop(home: Path) -> int | None:
    """Stop the stack that runs on this home, and what a killed one left; return its process id, None if none ran."""
    place = Home(home)
    stopped = _stop_supervisor(place) if place.locked() else None
    if (place.folder / "up.lock").exists():  # else no stack ever ran here, and nothing is to be made here
        place.lock()
        try:
            place.end_leftovers()
        finally:
            place.unlock()
    return stopped


def wipe(home: Path) -> bool:
    """Delete the data, logs and state below this home; the stack must be stopped. Other files stay.

    Returns False, and deletes nothing, if the folder is no home.
    """
    if not any((home / name).exists() for name in _MARKS):
        return False
    place = Home(home)
    place.lock()
    try:
        wipe_postgres(home)
        for name in ("temporal", "provider", "logs"):
            shutil.rmtree(home / name, ignore_errors=True)
        for name in ("together", "stack.json", "dev-key.json", "secrets-key"):
            (home / name).unlink(missing_ok=True)
    finally:
        place.unlock()
    (home / "up.lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty: it is not only ours
        home.rmdir()
    return True


def _stop_supervisor(place: Home) -> int:
    until = time.monotonic() + _PATIENCE
    while (state := place.read()) is None:  # it has the lock and writes its id down any moment
        if time.monotonic() > until or not place.locked():
            raise CannotRun(f"{place.folder} is in use, but {place.folder / 'stack.json'} does not say by whom")
        time.sleep(0.1)
    known_as = identity(state.pid)
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    while place.locked() and identity(state.pid) == known_as:
        if time.monotonic() > until:
            os.kill(state.pid, signal.SIGKILL)
        time.sleep(0.1)
    return state.pid
