"""The product's own processes and its door, for the tests in which whole servers go away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2

from api.app import create_app
from runtime.child_processes import Child
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.temporal_server import TemporalServer
from runtime.settings import Settings
from tests.tokens import auth_settings, bearer
from tests.waiting import eventually
from workflows.policies import Rules


class WorkerCommand:
    """`python -m worker`, as it is deployed; `kill` is kill -9, and then another one takes its place."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._child = Child(
            "worker", [sys.executable, "-m", "worker"], log, env={**os.environ, **settings.environment()}
        )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.alive

    def start(self) -> None:
        """Start it; it serves in a moment."""
        self._child.start()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._child.stop(signal.SIGKILL)


@asynccontextmanager
async def the_door(settings: Settings, rules: Rules) -> AsyncGenerator[httpx2.AsyncClient]:
    """The API in this process; `rules` are the pauses it gives to what it starts."""
    app = create_app(settings.with_values(**auth_settings()))
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=transport, base_url="http://api", timeout=60, headers=bearer("service", "checkout")
        ) as client,
    ):
        app.state.services = replace(app.state.services, rules=rules)
        yield client


async def buy(door: httpx2.AsyncClient, payment_id: str) -> None:
    """Start a purchase as checkout does: on 503 the same request again after what Retry-After says."""
    answer = await door.post("/api/v1/purchases", json={"paymentId": payment_id})
    if answer.status_code == 503:
        await asyncio.sleep(int(answer.headers["retry-after"]))
        await buy(door, payment_id)
    else:
        assert answer.status_code in (200, 202), answer.text


def crash(server: EmbeddedPostgres | TemporalServer, how: signal.Signals) -> None:
    """The server is gone at once, and its clients find out."""
    assert server.pid is not None
    os.kill(server.pid, how)


async def gone(server: EmbeddedPostgres | TemporalServer) -> None:
    """Waits until the process has ended."""
    await eventually(lambda: not server.alive)
