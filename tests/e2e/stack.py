"""A whole system as a user starts it: `coursaga up` in a home of its own, and its commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

COURSAGA = Path(sys.executable).with_name("coursaga")
FREE_PORTS = dict.fromkeys(("API_PORT", "POSTGRES_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "PROVIDER_PORT"), "0")


@dataclass
class Commands:
    """The `coursaga` command with one home and one environment."""

    env: dict[str, str]

    def run(self, *words: str, exits: int = 0, seconds: float = 300) -> str:
        """Run a command; its standard output."""
        done = subprocess.run(
            [COURSAGA, *words], env=self.env, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert done.returncode == exits, f"{words} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str, exits: int = 0) -> Any:
        """Run a command with --json; its answer."""
        return json.loads(self.run(*words, "--json", exits=exits))


@dataclass
class Up(Commands):
    """A running stack: its process, and what `up --json` said."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def client(self, role: str = "admin", subject: str = "ann") -> httpx2.Client:
        """HTTP to its API as this caller."""
        token = self.run("token", "--role", role, "--subject", subject).strip()
        return httpx2.Client(base_url=self.said["api"], timeout=30, headers={"Authorization": f"Bearer {token}"})


def commands(home: Path, **env: str) -> Commands:
    inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "PROVIDER_URL")}
    return Commands({**inherited, **FREE_PORTS, "COURSAGA_HOME": str(home), "COURSAGA_TODAY": "2026-11-21", **env})


@contextmanager
def up(home: Path, **env: str) -> Iterator[Up]:
    """`coursaga up`, ready; SIGTERM afterwards, which must end it cleanly."""
    own = commands(home, **env)
    with subprocess.Popen([COURSAGA, "up", "--json"], env=own.env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, f"`coursaga up` ended with {process.wait()} before it was ready"
            yield Up(own.env, process, json.loads(line))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, "`coursaga up` did not stop cleanly"
