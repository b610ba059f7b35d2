"""Finds a Temporal server program: on PATH, cached, downloaded by the SDK, or built from tools/temporal.

`python -m runtime.temporal_binary` sees to it that there is one and prints its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from runtime.aside import aside
from runtime.errors import CannotRun
from runtime.progress import Say, progress, say_nothing
from runtime.settings import load_settings

MODULE = Path(__file__).parent.parent / "tools" / "temporal"
PROGRAM = "github.com/temporalio/cli/cmd/temporal"
EXPECTED = "about 3 to 4 minutes on 2 cores the first time, seconds later"
_DOWNLOAD_SECONDS = 60.0
_BUILD_SECONDS = 1800.0
_TELL_EVERY = 10.0
Download = Callable[[Path, str], Path | None]


class NoTemporalServer(CannotRun):
    """There is no Temporal server program and none could be made; the message names the three remedies."""


def cached() -> Path:
    """Where the program of exactly this module is kept, whether it is there or not."""
    digest = hashlib.sha256((MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / "coursaga"
        / f"temporal-{digest}"
        / "temporal"
    )


def locate() -> Path | None:
    """The program that can be used at once: `temporal` on PATH if it runs, else the cached one."""
    on_path = shutil.which("temporal")
    for found in (Path(on_path) if on_path else None, cached()):
        if found is not None and found.exists() and server_version(found) is not None:
            return found
    return None


def server_version(program: Path) -> str | None:
    """The version of the server inside, "unknown" if it runs without telling, None if it does not run."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"Server (\d+\.\d+\.\d+)", answer)
    return match[1] if match else "unknown"


def ensure(say: Say = say_nothing, download: Download | None = None) -> Path:
    """The program to run; downloads or builds it if it must. Raises NoTemporalServer."""
    if found := locate():
        return found
    target = cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(target.with_name("lock"), say):
        if server_version(target) is None:  # nobody made it while we waited
            half = target.with_name(f"temporal.{os.getpid()}")
            try:
                why_not = _make(half, say, download or download_by_sdk)
                if why_not:
                    raise NoTemporalServer(_remedies(why_not))
                half.replace(target)  # never a half-written program under the final name
            finally:
                half.unlink(missing_ok=True)
    return target


def cli_version() -> str:
    """The version of the Temporal CLI that tools/temporal pins, as v1.2.3."""
    match = re.search(r"^\s*(?:require )?github\.com/temporalio/cli (v[\w.]+)", (MODULE / "go.mod").read_text(), re.M)
    if match is None:
        raise NoTemporalServer(f"{MODULE / 'go.mod'} pins no github.com/temporalio/cli")
    return match[1]


def download_by_sdk(folder: Path, version: str) -> Path | None:
    """The program as the SDK downloads it, None if it cannot; without internet that takes no time."""

    async def fetch() -> None:
        starting = WorkflowEnvironment.start_local(  # pyright: ignore[reportUnknownMemberType] # partly typed in the SDK
            download_dest_dir=str(folder), dev_server_download_version=version
        )
        async with await asyncio.wait_for(starting, _DOWNLOAD_SECONDS):
            pass  # it starts, so it is whole

    try:
        aside(fetch)
    except (RuntimeError, TimeoutError, OSError):
        return None
    return next((file for file in folder.iterdir() if file.is_file() and os.access(file, os.X_OK)), None)


def _make(half: Path, say: Say, download: Download) -> str:
    """Makes the program at `half`; returns why it could not, empty when it could."""
    say("looking for a Temporal server to download")
    fetched_into = half.with_name(f"download.{os.getpid()}")
    fetched_into.mkdir(exist_ok=True)
    try:
        if fetched := download(fetched_into, cli_version()):
            fetched.replace(half)
            return ""
    finally:
        shutil.rmtree(fetched_into, ignore_errors=True)
    go = shutil.which("go")
    return _build(go, half, say) if go else "there is no Go to build one with"


def _build(go: str, half: Path, say: Say) -> str:
    say(f"building the Temporal server once ({EXPECTED})")
    started = told = time.monotonic()
    log = half.with_name("build.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [go, "build", "-mod=readonly", "-o", str(half), PROGRAM], cwd=MODULE, stdout=output, stderr=output
        )
        try:
            while process.poll() is None and time.monotonic() - started < _BUILD_SECONDS:
                if time.monotonic() - told >= _TELL_EVERY:
                    told = time.monotonic()
                    say(f"building the Temporal server: {told - started:.0f} s so far ({EXPECTED})")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode == 0 and server_version(half) is not None:
        say(f"built the Temporal server in {time.monotonic() - started:.0f} s")
        return ""
    end = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    return f"`go build` in tools/temporal failed ({log}):\n{end}"


def _remedies(why: str) -> str:
    return (
        f"no Temporal server: none on PATH, none cached, no download, and {why}\n"
        "Any one of these helps:\n"
        "  1. set TEMPORAL_ADDRESS to a running server (host:port)\n"
        "  2. put the `temporal` program on PATH\n"
        "  3. install Go 1.26 or later, which builds it from tools/temporal"
    )


@contextlib.contextmanager
def _one_at_a_time(file: Path, say: Say) -> Generator[None]:
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"another process is making the Temporal server, waiting for it ({EXPECTED})")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Makes sure of the program; 0 when there is one, or when TEMPORAL_ADDRESS makes it needless."""
    if address := load_settings().temporal_address:
        sys.stdout.write(f"TEMPORAL_ADDRESS is set: {address}\n")
        return 0
    try:
        with progress() as say:
            program = ensure(say)
    except NoTemporalServer as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{program} (server {server_version(program)})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
