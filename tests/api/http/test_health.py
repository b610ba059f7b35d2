"""Health and readiness."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from runtime.build import build_id
from runtime.settings import Settings
from runtime.versions import make_current
from tests.api.conftest import NOBODY, booted, is_problem
from tests.build import run
from tests.gateways.in_memory import FakeProvider
from worker import make_worker


async def test_readiness_names_what_is_down(settings: Settings, temporal: Client) -> None:
    async with booted(settings) as api:
        assert (await api.get("/healthz")).json() == {"status": "ok"}
        assert is_problem(await api.get("/readyz"), 503, "NOT_READY")["down"] == ["worker"]
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        assert is_problem(await api.get("/readyz"), 503, "NOT_READY")["down"] == ["temporal", "worker"]
    gone = settings.with_values(database_url="postgresql://nobody:nothing@127.0.0.1:1/none")
    async with booted(gone) as api:
        assert is_problem(await api.get("/readyz"), 503, "NOT_READY")["down"] == ["database", "migrations", "worker"]


async def test_a_worker_that_gets_no_work_is_named(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> None:
    own = settings.with_values(worker_versioning=True)
    async with booted(own) as api, make_worker(temporal, own, engine, fake_provider):
        while "get no work" not in (told := is_problem(await api.get("/readyz"), 503, "NOT_READY"))["detail"]:
            assert told["down"] == ["worker"]
            await asyncio.sleep(0.02)
        await make_current(temporal, own.task_queue, build_id(), seconds=60)
        assert (await api.get("/readyz")).status_code == 200


@pytest.mark.usefixtures("worker")
async def test_is_ready_with_a_worker_and_not_with_an_old_schema(api: httpx2.AsyncClient, engine: Engine) -> None:
    while (answer := await api.get("/readyz")).status_code != 200:
        assert answer.json()["down"] == ["worker"]  # its first poll is under way
        await asyncio.sleep(0.02)
    run(engine, "UPDATE alembic_version SET version_num = '0000'")
    assert is_problem(await api.get("/readyz"), 503, "NOT_READY")["down"] == ["migrations"]
    run(engine, "DROP TABLE alembic_version")
    assert is_problem(await api.get("/readyz"), 503, "NOT_READY")["down"] == ["migrations"]
