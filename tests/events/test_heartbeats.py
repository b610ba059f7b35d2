"""The health checks of docker-compose.yml for processes without a port: run as they stand there, on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from runtime.child_processes import Child
from runtime.settings import Settings
from tests.roles import as_role

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
LOOPS = {"worker": {"worker"}, "relay": {"publish", "deliver"}, "consumer": {"consume"}}


@pytest.fixture(params=LOOPS)
def process(request: pytest.FixtureRequest, settings: Settings, database_url: str, tmp_path: Path) -> Iterator[Child]:
    environment = {
        **os.environ,
        **settings.with_values(provider_url="http://127.0.0.1:1").environment(),
        "DATABASE_URL": as_role(f"coursaga_{request.param}", database_url),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1" if request.param == "consumer" else "",
        "HEARTBEAT_FOLDER": str(tmp_path / "heartbeats"),
    }
    child = Child(request.param, [sys.executable, "-m", request.param], tmp_path / "log", env=environment)
    child.start()
    yield child
    child.stop()


def healthy(name: str, folder: Path) -> bool:
    """What the container's health check says, with its folder in place of the container's."""
    service = yaml.safe_load(COMPOSE.read_text())["services"][name]
    kind, command = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    told = service["environment"]["HEARTBEAT_FOLDER"]
    assert told in command
    here = command.replace("$$", "$").replace(told, str(folder))
    return subprocess.run(["sh", "-c", here], check=False).returncode == 0


def until(true: Callable[[], bool], child: Child) -> None:
    child.wait_until(true, 60)


def test_a_loop_that_is_stuck_is_seen_and_one_that_goes_on_again_too(process: Child, tmp_path: Path) -> None:
    folder = tmp_path / "heartbeats"
    assert not healthy(process.name, folder), "nothing has begun"
    until(lambda: folder.exists() and {file.name for file in folder.iterdir()} == LOOPS[process.name], process)
    assert healthy(process.name, folder)
    assert process.pid
    os.kill(process.pid, signal.SIGSTOP)
    then = time.time() - 180  # as if it had stood still for three minutes
    for file in folder.iterdir():
        os.utime(file, (then, then))
        assert not healthy(process.name, folder), file.name
        os.utime(file)
    for file in folder.iterdir():
        os.utime(file, (then, then))
    os.kill(process.pid, signal.SIGCONT)
    until(lambda: healthy(process.name, folder), process)
