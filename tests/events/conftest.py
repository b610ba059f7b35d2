"""The event door in process: a database, Temporal, no broker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import Client

from application.context import Services
from application.wiring import open_services
from db.grants import CONSUMER
from runtime.settings import Settings
from tests.api.conftest import api, end_runs, fresh, settings_for, task_queue, worker
from tests.build import item, pay, student
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role

__all__ = ["api", "task_queue", "worker"]


@pytest.fixture
def settings(database_url: str, temporal_address: str, task_queue: str) -> Settings:
    return settings_for(database_url, temporal_address, task_queue)


@pytest.fixture
def consuming(settings: Settings, database_url: str) -> Settings:
    """The consumer's; `settings` are the API's."""
    return settings.with_values(database_url=as_role(CONSUMER, database_url))


@pytest_asyncio.fixture(loop_scope="session")
async def at(consuming: Settings, temporal: Client) -> AsyncIterator[Services]:
    """What the door works with in the consumer's process."""
    async with open_services(consuming) as services:
        yield services
    await end_runs(temporal, consuming.task_queue)


@pytest.fixture
def paid(engine: Engine, fake_provider: FakeProvider) -> str:
    """A succeeded payment of one course that needs no trainer, here and at the provider."""
    student(engine)
    student(engine, "student-2")
    item(engine, "course-free", fulfilment="ownership")
    return pay(engine, fake_provider, fresh(), items=(("course", "course-free"),))
