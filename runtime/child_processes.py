"""Child processes, tied to the life of the process that started them, each in its own session and with a log file.

Start them from a thread that lives as long as they shall: the kernel's leash is bound to the starting thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

from runtime.errors import CannotRun

LEASH = Path(__file__).with_name("die_with_parent.py")
_LOG_LIMIT = 10_000_000  # bytes; a longer log is set aside at the next start
_PICKED = range(12_000, 32_000)
# Each process takes its turns from a place of its own: two that start servers at once do not pick the same port.
_TURNS = count(os.getpid() * 997)
_STARTED = "=== started "


class StartFailed(CannotRun):
    """A child could not be started or did not become ready; the message says why and shows the end of its log."""


class Child:
    """One child process.

    The kernel sends it `ends_with` when its parent dies; `stop` waits `patience` seconds for it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        account: tuple[int, int] | None = None,
        cwd: Path | None = None,
        ends_with: signal.Signals = signal.SIGKILL,
        patience: float = 30.0,
    ) -> None:
        self.name = name
        self.log = log
        self.ends_with = ends_with
        self._command = list(command)
        self._env = env
        self._account = account or (-1, -1)
        self._cwd = cwd
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and return at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        uid, gid = self._account
        leash = [str(LEASH), str(os.getpid()), str(int(self.ends_with)), str(uid), str(gid)]
        with self.log.open("ab") as output:
            output.write(f"{_STARTED}{self.name} {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n".encode())
            output.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", *leash, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if self._env is None else dict(self._env),
                cwd=self._cwd,
                start_new_session=True,  # Ctrl-C reaches the parent only, which then stops all in order
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal and wait; kill the process when its patience is over. Does nothing for one that is gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id; None if the process was never started or was stopped."""
        return None if self._process is None else self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready` returns true. Raises StartFailed if the process dies first or `seconds` are over."""
        end = time.monotonic() + seconds
        while not ready():
            if not self.alive:
                raise StartFailed(f"{self.name} stopped while starting\n{tail(self.log)}")
            if time.monotonic() > end:
                raise StartFailed(f"{self.name} was not ready within {seconds:.0f} s\n{tail(self.log)}")
            time.sleep(0.05)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log since its process was last started, headed by the file's name."""
    text = log.read_text(errors="replace").rpartition(_STARTED)[2] if log.exists() else ""
    return "\n".join([f"--- {log}", *text.splitlines()[-lines:]])


def identity(pid: int) -> str | None:
    """Return when this process started, as a text that no later process of the same id shares; None if it is dead."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    return _ps(pid, "lstart=")


def command_of(pid: int) -> str:
    """Return the command line of a process, empty if it is dead."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    return _ps(pid, "command=") or ""


def end(pid: int, known_as: str, how: signal.Signals, patience: float = 10.0) -> bool:
    """End a process that is not our child, if it is still the one `known_as`; return False if it does not end."""
    for sent, seconds in ((how, patience), (signal.SIGKILL, 5.0)):
        if identity(pid) != known_as:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
        if gone(pid, known_as, seconds):
            return True
    return False


def gone(pid: int, known_as: str, seconds: float) -> bool:
    """Wait up to `seconds` for that process to be gone; return whether it is."""
    until = time.monotonic() + seconds
    while identity(pid) == known_as:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def free_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return the ports to use by name: as wanted, 0 replaced by a free one. Raises StartFailed when one is taken.

    A free one lies below those the system gives to outgoing connections, any of which could take it meanwhile.
    """
    with contextlib.ExitStack() as held:
        return {name: _claim(held, name, port) if port else _pick(held, name) for name, port in wanted.items()}


def free_port() -> int:
    """Return one free loopback port. Raises StartFailed."""
    return free_ports({"": 0})[""]


def _pick(held: contextlib.ExitStack, name: str) -> int:
    claim = held.enter_context(socket.socket())  # no SO_REUSEADDR: what is bound or listening is passed over
    for number in islice(_TURNS, 50):
        with contextlib.suppress(OSError):
            claim.bind(("127.0.0.1", port := _PICKED[number % len(_PICKED)]))
            return port
    raise StartFailed(f"found no free port for {name or 'a server'} in 50 tries: set it to one that is free")


def _claim(held: contextlib.ExitStack, name: str, port: int) -> int:
    claim = held.enter_context(socket.socket())
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError as error:
        remedy = f"set {name} to another port, or to 0 for a free one"
        raise StartFailed(f"port {port} is taken ({error.strerror}): {remedy}") from None
    return port


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether something accepts connections on this port."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def environment_without(prefix: str) -> dict[str, str]:
    """Return a copy of this process's environment without the variables that begin with the prefix."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}


def _ps(pid: int, column: str) -> str | None:
    found = subprocess.run(["ps", "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
