"""The servers and processes of a running stack: know which are wanted, see which have died, and start those again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from runtime.child_processes import StartFailed, tail
from runtime.progress import Say

_SETTLED_SECONDS = 60.0  # a child that lived this long starts again at once when it dies
_LONGEST_PAUSE = 30.0


class Part(Protocol):
    """A server or process of the stack."""

    @property
    def name(self) -> str: ...
    @property
    def ends_with(self) -> signal.Signals: ...
    @property
    def alive(self) -> bool: ...
    @property
    def pid(self) -> int | None: ...
    def start(self) -> object: ...
    def stop(self) -> None: ...


class Parts:
    """The parts of one stack, by name, in the order they were started. `changed` is called after each start."""

    def __init__(self, logs: Path, say: Say, changed: Callable[[], None]) -> None:
        self._logs = logs
        self._say = say
        self._changed = changed
        self._parts: dict[str, Part] = {}
        self._wanted: set[str] = set()
        self._pauses: dict[str, tuple[float, float]] = {}  # name -> (seconds to wait, not before)

    @property
    def ends(self) -> dict[str, tuple[int, signal.Signals]]:
        """The process id of each part that runs, and the signal that ends it, by name."""
        return {name: (part.pid, part.ends_with) for name, part in self._parts.items() if part.pid is not None}

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part that runs, by name."""
        return {name: pid for name, (pid, _) in self.ends.items()}

    def keep(self, part: Part, start: Callable[[], object]) -> None:
        """Start a new part by calling `start`, and keep it running from now on."""
        self._parts[part.name] = part
        self._wanted.add(part.name)
        start()
        self._changed()

    def start(self, name: str) -> None:
        """Start a stopped part again, at its old address."""
        self._wanted.add(name)
        self._parts[name].start()
        self._changed()

    def stop(self, name: str) -> None:
        """Stop one part and leave it stopped."""
        self._wanted.discard(name)
        self._parts[name].stop()

    def stop_all(self) -> None:
        """Stop all parts in reverse order and forget them."""
        self._wanted.clear()
        for name, part in reversed(list(self._parts.items())):
            self._say(f"stopping {name}")
            part.stop()
        self._parts.clear()

    def tend(self) -> None:
        """Start each part that died again, with growing pauses."""
        for name in [name for name in self._parts if name in self._wanted and not self._parts[name].alive]:
            pause, not_before = self._pauses.get(name, (0.0, 0.0))
            now = time.monotonic()
            if now < not_before:
                continue
            settled = now - not_before > _SETTLED_SECONDS
            pause = 0.5 if settled else min(pause * 2, _LONGEST_PAUSE)
            self._pauses[name] = (pause, now + pause)
            self._say(f"{name} died, starting it again")
            try:
                self.start(name)
            except StartFailed as failed:
                self._say(str(failed))

    def check_alive(self) -> None:
        """Raise StartFailed, with the end of its log, if a part that is wanted has died."""
        for name in self._wanted:
            if not self._parts[name].alive:
                raise StartFailed(f"{name} stopped while starting\n{tail(self._logs / f'{name}.log')}")
