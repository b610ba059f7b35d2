"""The `coursaga` command in a home of its own, and a whole system as a user starts it: `coursaga up`."""

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
import psycopg

from runtime.child_processes import gone, identity

ROOT = Path(__file__).parents[1]
COURSAGA = Path(sys.executable).with_name("coursaga")
FREE_PORTS = dict.fromkeys(("API_PORT", "POSTGRES_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT", "PROVIDER_PORT"), "0")
OURS = (
    "COURSAGA_", "AUTH_", "DEV_AUTH", "DATABASE_URL", "TEMPORAL_", "PROVIDER_", "API_", "POSTGRES_", "WORKERS", "LOG_",
    "SECRETS_",
)  # fmt: skip
PATIENCE = 120


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment with none of our settings but these: a free port for everything, on this home."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**plain, **FREE_PORTS, "COURSAGA_HOME": str(home), **more}


@dataclass
class Commands:
    """The `coursaga` command with one environment."""

    env: dict[str, str]

    def call(self, *words: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever it exits with."""
        return subprocess.run(
            [COURSAGA, *words], env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )

    def run(self, *words: str, exits: int = 0) -> str:
        """Run a command that exits so; its standard output."""
        done = self.call(*words)
        assert done.returncode == exits, f"{words} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str, exits: int = 0) -> Any:
        """Run a command with --json; its answer."""
        return json.loads(self.run(*words, "--json", exits=exits))


def commands(home: Path, **env: str) -> Commands:
    """On this home, on the day the data files are made for."""
    return Commands(environment(home, **{"COURSAGA_TODAY": "2026-11-21", **env}))


class Up(Commands):
    """One `coursaga up --json` that is ready; `said` is its one answer, `log` what it told people."""

    def __init__(self, home: Path, **settings: str) -> None:
        super().__init__(commands(home, **settings).env)
        self.home = home
        self.log = home / "said"
        home.mkdir(exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [COURSAGA, "up", "--json"], env=self.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()} before it was ready\n{self.log.read_text()}"
        self.said: dict[str, Any] = json.loads(line)
        self._identities = {pid: identity(pid) for pid in self.said["pids"].values()}

    def client(self, role: str = "admin", subject: str = "ann") -> httpx2.Client:
        """HTTP to its API as this caller."""
        token = self.run("token", "--role", role, "--subject", subject).strip()
        return httpx2.Client(base_url=self.said["api"], timeout=30, headers={"Authorization": f"Bearer {token}"})

    def ask(self, question: str) -> Any:
        """The first value that its database answers, if any."""
        with psycopg.connect(self.said["databaseUrl"].replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(question.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def end(self, how: signal.Signals | None) -> int:
        """Send the signal, if any, and wait; the exit code. Its stdout has carried the one answer and nothing else."""
        if how is not None:
            self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        assert self.process.stdout
        with self.process.stdout as out:
            assert out.read() == ""
        return code

    def left(self) -> list[int]:
        """Its processes that are still there after a while."""
        return [pid for pid, known in self._identities.items() if known and not gone(pid, known, 30)]


@contextmanager
def up(home: Path, **settings: str) -> Iterator[Up]:
    """`coursaga up`, ready; SIGTERM afterwards if it still runs, which must end it cleanly."""
    stack = Up(home, **settings)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            assert stack.end(signal.SIGTERM) == 0, f"`coursaga up` did not stop cleanly\n{stack.log.read_text()}"
