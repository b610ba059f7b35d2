"""The API in process, on a real database and a real Temporal server; a real worker for the tests that ask for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.service import RPCError

from api.app import create_app
from api.http.problem_table import PROBLEM_TYPES
from api.http.problem_types import title_of
from api.http.server import PunctualProtocol
from application.temporal_client import executions
from db.grants import API
from runtime.settings import Settings
from tests.build import item, pay, student
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role
from tests.tokens import auth_settings, bearer, secrets_keys
from tests.waiting import eventually
from worker import make_worker

NOBODY = "127.0.0.1:1"  # no server listens there
_idle: list[FastAPI] = []  # building one takes 0.1 s, and what a test is about is in its state alone


@pytest.fixture
def task_queue() -> str:
    return f"api-{uuid4()}"


@pytest.fixture
def settings(database_url: str, temporal_address: str, task_queue: str) -> Settings:
    return settings_for(database_url, temporal_address, task_queue)


def settings_for(database_url: str, temporal_address: str, task_queue: str, role: str = API) -> Settings:
    """As this role, on the day the data files are made for."""
    return Settings.model_validate(
        {
            "database_url": as_role(role, database_url),
            "temporal_address": temporal_address,
            "task_queue": task_queue,
            "coursaga_today": date(2026, 11, 21),
            "api_work_at_once": 1000,  # tests ask for much at once
            "rate_limit_staff": "100000/second",
            "rate_limit_student": "100000/second",
            "rate_limit_service": "100000/second",
            "secrets_keys": secrets_keys(),
            **auth_settings(),
        }
    )


@asynccontextmanager
async def booted(settings: Settings, provider: FakeProvider | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """The API with these settings, reached as over HTTP by an admin called ann; a bug is answered, not raised.

    Another caller is a header of the request: `headers=bearer("student", "student-1")`.
    """
    app = _idle.pop() if _idle else create_app(settings)
    app.state.settings, app.state.provider = settings, provider
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=transport, base_url="http://api", timeout=60, headers=bearer(), event_hooks=TABLED
        ) as client,
    ):
        yield client
    _idle.append(app)


@asynccontextmanager
async def serving(settings: Settings, provider: FakeProvider | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """The API behind a real server on a port of its own."""
    app = create_app(settings, provider)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, http=PunctualProtocol, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await eventually(lambda: server.started, pause=0.01)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    limits = httpx2.Limits(max_connections=200)
    async with httpx2.AsyncClient(
        base_url=base, headers=bearer(), timeout=60, limits=limits, event_hooks=TABLED
    ) as client:
        yield client
    server.should_exit = True
    await running


@pytest_asyncio.fixture(loop_scope="session")
async def api(settings: Settings, temporal: Client, fake_provider: FakeProvider) -> AsyncIterator[httpx2.AsyncClient]:
    async with booted(settings, fake_provider) as client:
        yield client
    await end_runs(temporal, settings.task_queue)


@pytest_asyncio.fixture(loop_scope="session")
async def worker(
    temporal: Client, settings: Settings, engine: Engine, fake_provider: FakeProvider
) -> AsyncIterator[None]:
    async with make_worker(temporal, settings, engine, fake_provider):
        yield


@pytest.fixture
def paid(engine: Engine, fake_provider: FakeProvider) -> str:
    """A succeeded payment of one open course, here and at the provider. No trainer teaches it."""
    student(engine)
    item(engine)
    return pay(engine, fake_provider, fresh())


def fresh() -> str:
    """A payment id no other test uses: workflow ids are shared by all tests."""
    return f"pay-{uuid4()}"


async def begin(api: httpx2.AsyncClient, payment: str) -> str:
    """Start the payment's only line; its workflow id."""
    answer = await api.post("/api/v1/purchases", json={"paymentId": payment})
    assert answer.status_code == 202, answer.text
    return answer.json()["lines"][0]["workflowId"]


async def shown(api: httpx2.AsyncClient, purchase: str) -> dict[str, Any]:
    """A purchase as the API shows it."""
    answer = await api.get(f"/api/v1/purchases/{purchase}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until(api: httpx2.AsyncClient, purchase: str, ending: str) -> dict[str, Any]:
    """Wait until the purchase is at this ending; the test's timeout bounds it."""
    return await eventually(lambda: shown(api, purchase), lambda seen: seen["ending"] == ending)


async def answered(send: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """Send the same request as often as its answer asks for it: under way (202), or no worker yet (503)."""
    while (answer := await send()).status_code in (202, 503):
        pass
    return answer


async def end_runs(client: Client, task_queue: str) -> None:
    """Nothing of a test may be found by the sweeps of the next one."""
    async for run in executions(client, f"TaskQueue = '{task_queue}' AND CloseTime IS NULL"):
        with suppress(RPCError):  # it may end by itself meanwhile
            await client.get_workflow_handle(run.execution.workflow_id).terminate("the test is over")


async def as_tabled(answer: httpx2.Response) -> None:
    """Every problem of every test is one of the table: its status, its title, its address."""
    if answer.headers.get("content-type") == "application/problem+json" and answer.request.method != "HEAD":
        await answer.aread()
        body = answer.json()
        row = PROBLEM_TYPES[body["code"]]
        assert body["status"] == answer.status_code
        assert answer.status_code in row.statuses, body
        assert body["title"] == title_of(answer.status_code)
        assert body["type"] == f"http://127.0.0.1:8000/problems/{row.code}"
        assert row.retryable in (None, body["retryable"]), body


TABLED = {"response": [as_tabled]}


def is_problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem, complete, and gives nothing of our inside away."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert {"type", "title", "retryable", "instance"} <= body.keys()
    assert not any(word in answer.text for word in ("Traceback", "psycopg", "sqlalchemy", "RPCError", "tonic"))
    return body
