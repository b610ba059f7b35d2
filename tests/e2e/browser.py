"""Finds a Chromium for the tests that look at Temporal UI: CHROMIUM, on PATH, or installed by apt-get.

`python -m tests.e2e.browser` sees to it that there is one and prints its path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from runtime.errors import CannotRun
from runtime.progress import Say, progress, say_nothing

NAMES = ("chromium", "chromium-browser", "google-chrome")
_INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "chromium")
_SECONDS = 1200.0


class NoBrowser(CannotRun):
    """There is no Chromium and none could be installed; the message names the remedies."""


def locate() -> Path:
    """The Chromium that CHROMIUM names, else the first on PATH that runs. Raises NoBrowser."""
    if named := os.environ.get("CHROMIUM"):
        if _runs(named):
            return Path(named)
        raise NoBrowser(_remedies(f"CHROMIUM is {named}, which does not run"))
    for found in filter(None, map(shutil.which, NAMES)):
        if _runs(found):
            return Path(found)
    raise NoBrowser(_remedies(f"none of {', '.join(NAMES)} is on PATH and runs"))


def ensure(say: Say = say_nothing) -> Path:
    """The Chromium to use; installs Debian's package if there is none and it may. Raises NoBrowser."""
    try:
        return locate()
    except NoBrowser:
        if os.environ.get("CHROMIUM"):
            raise
    say("installing the package chromium with apt-get (a minute or two, once)")
    if why_not := _install():
        raise NoBrowser(_remedies(f"none is on PATH, and {why_not}"))
    return locate()


def _install() -> str:
    """Why it could not be installed, empty when it was. Tried twice: the network may fail in between."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return "this system has no apt-get to install one with"
    root = _root()
    if root is None:
        return "installing one needs root, or a sudo that asks for no password"
    return _apt(root) and _apt(root)


def _root() -> list[str] | None:
    """What to put before a command to run it as root, None if we may not."""
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and _runs("sudo", "-n", "true") else None


def _apt(root: list[str]) -> str:
    # A list that could not be renewed may still be good enough: only the installing counts.
    _run(*root, "apt-get", "update")
    done = _run(*root, "env", "DEBIAN_FRONTEND=noninteractive", *_INSTALL)
    end = "\n".join(done.stdout.splitlines()[-10:])
    return f"`apt-get install chromium` failed:\n{end}" if done.returncode else ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def _runs(program: str, *words: str) -> bool:
    try:
        return _run(program, *(words or ("--version",))).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _remedies(why: str) -> str:
    return (
        f"no Chromium: {why}\n"
        "Any one of these helps:\n"
        "  1. install Chromium, on Debian and Ubuntu: apt-get install chromium\n"
        "  2. set CHROMIUM to the program of a Chromium or Chrome"
    )


def main() -> int:
    """Makes sure of the program; 0 when there is one."""
    try:
        with progress() as say:
            program = ensure(say)
    except NoBrowser as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{program}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
