"""Replays recorded histories against the code at hand: `python -m tests.temporal.replay FOLDER`.

Exit code 0: all are told the same way; 1: one is not, and which.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from temporalio.client import WorkflowHistory

from cli.release.replay import replayer, why_not_repeated
from workflows.purchase import __file__ as workflow_file


def recorded(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted(folder.glob("*.json"))}


async def broken_by_this_code(folder: Path, *, first_only: bool = False) -> dict[str, str]:
    """The recorded histories that the code does not repeat: name -> why."""
    told = replayer()
    broken: dict[str, str] = {}
    for name, text in recorded(folder).items():
        if why := await why_not_repeated(told, WorkflowHistory.from_json(name, text)):
            broken[name] = why
            if first_only:
                break
    return broken


if __name__ == "__main__":
    sys.stderr.write(f"{workflow_file}\n")
    found = asyncio.run(broken_by_this_code(Path(sys.argv[1]), first_only=True))
    for name, why in found.items():
        sys.stdout.write(f"{name}: {why}\n")
    sys.stdout.flush()
    os._exit(1 if found else 0)  # a run that failed half-way leaves threads that must not outlive the interpreter
