"""Name the build that runs; every worker records it, so that a history tells which code made it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def build_id() -> str:
    """Return COURSAGA_BUILD, else the checkout's commit, else the package's version.

    A "." becomes "-": Temporal refuses it.
    """
    return (os.environ.get("COURSAGA_BUILD") or _commit() or version("coursaga")).replace(".", "-")


def _commit() -> str:
    if shutil.which("git") is None:
        return ""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()
