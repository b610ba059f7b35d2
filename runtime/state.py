"""Let commands with the same COURSAGA_HOME find the running stack, and what is left of one that was killed.

A lock on `up.lock` says whether a stack runs: the kernel gives it back however the process ends.
`stack.json` says where its servers are; it holds the database password and is readable by its owner only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from pydantic import TypeAdapter, ValidationError

from runtime.child_processes import end, identity
from runtime.errors import CannotRun
from runtime.files import open_folder, write_secret
from runtime.secrets_keys import key_of_home
from runtime.settings import Settings


class AlreadyRuns(CannotRun):
    """A stack already runs on this home; the message names its process."""


@dataclass(frozen=True)
class Running:
    """A stack that is up: its addresses, and whether its workers are versioned by build.

    `database_url` holds the password; `pids` maps the name of a part to its process id.
    """

    pid: int
    api: str
    docs: str
    console: str | None
    temporal_ui: str | None
    temporal_address: str
    database_url: str
    provider_url: str
    pids: dict[str, int]
    versioned: bool = False

    def report(self) -> dict[str, object]:
        """Return the object that `coursaga up --json` prints (spec section 8)."""
        return {
            "ready": True,
            "api": self.api,
            "docs": self.docs,
            "console": self.console,
            "temporalUi": self.temporal_ui,
            "temporalAddress": self.temporal_address,
            "databaseUrl": self.database_url,
            "pids": self.pids,
        }


@dataclass(frozen=True)
class Leftover:
    """A child process as stored: its id, `known_as` to tell it from later processes of that id, the signal that
    ends it."""

    pid: int
    known_as: str
    how: int


@dataclass(frozen=True)
class State:
    """The content of stack.json. `running` is None while the stack starts."""

    pid: int
    children: dict[str, Leftover]
    running: Running | None


_STATE: TypeAdapter[State] = TypeAdapter(State)


class Home:
    """The folder COURSAGA_HOME: its lock and its state file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: TextIO | None = None

    def lock(self) -> None:
        """Lock the home for this process until `unlock`; raise AlreadyRuns if another process holds it."""
        open_folder(self.folder)
        held = (self.folder / "up.lock").open("a+")
        # A command that looks whether somebody runs holds it for a moment, too.
        for attempt in range(20):
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._lock = held
                return
            if attempt < 19:
                time.sleep(0.05)
        held.close()
        state = self.read()
        who = f"process {state.pid}" if state else "another process"
        raise AlreadyRuns(f"a stack already runs on {self.folder} ({who}): stop it with `coursaga down`")

    def unlock(self) -> None:
        """Release the lock of the home, if this process holds it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def locked(self) -> bool:
        """Return whether a process holds the lock of the home."""
        try:
            with (self.folder / "up.lock").open() as looked_at:
                fcntl.flock(looked_at, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def read(self) -> State | None:
        """Return the content of stack.json, None if there is none that can be read."""
        try:
            return _STATE.validate_json((self.folder / "stack.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, children: Mapping[str, tuple[int, signal.Signals]], running: Running | None) -> None:
        """Write stack.json: the children and, once it is ready, the stack."""
        known = {
            name: Leftover(pid, known_as, int(how))
            for name, (pid, how) in children.items()
            if (known_as := identity(pid)) is not None
        }
        write_secret(self.folder / "stack.json", json.dumps(asdict(State(os.getpid(), known, running))))

    def forget(self) -> None:
        """Remove stack.json."""
        (self.folder / "stack.json").unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End the children of a stack that was killed; the caller holds the lock.

        Raises CannotRun if one does not end.
        """
        state = self.read()
        for name, child in reversed(list(state.children.items()) if state else []):
            if not end(child.pid, child.known_as, signal.Signals(child.how), patience=30):
                raise CannotRun(f"{name} of an earlier stack, process {child.pid}, does not end")
        self.forget()


def find(home: Path) -> Running | None:
    """Return the stack that runs on this home and is ready, None if there is none."""
    place = Home(home)
    state = place.read() if place.locked() else None
    return state.running if state else None


def attached(settings: Settings) -> Settings:
    """Return the settings.

    Those that the environment does not set are filled in from the running stack, if there is one.
    """
    running = find(settings.coursaga_home)
    if running is None:
        return settings
    return settings.with_values(
        database_url=settings.database_url or running.database_url,
        temporal_address=settings.temporal_address or running.temporal_address,
        temporal_ui_url=settings.temporal_ui_url or running.temporal_ui,
        provider_url=settings.provider_url or running.provider_url,
        secrets_keys=settings.secrets_keys or key_of_home(settings.coursaga_home),
        worker_versioning=running.versioned if settings.worker_versioning is None else settings.worker_versioning,
    )
