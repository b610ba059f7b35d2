"""A bug in the workflow's code: seen in the list, the case file and by doctor; mended by a new worker, nothing undone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from cli.doctor.check import WRONG
from cli.doctor.temporal import temporal as look_at_temporal
from runtime.settings import Settings
from runtime.temporal import connect
from tests.api.conftest import begin, until
from tests.build import trainer
from tests.gateways.in_memory import FakeProvider
from tests.servers import temporal_server
from tests.waiting import eventually
from worker import make_worker
from workflows.purchase import PurchaseInput

LIST = "/api/v1/admin/purchases"


@pytest.fixture(scope="module")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that notices after 2 s, not 10, that a task failed again or that its worker is gone."""
    with temporal_server(tmp_path_factory.mktemp("temporal"), {"history.defaultWorkflowTaskTimeout": "2s"}) as address:
        yield address


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def temporal(temporal_address: str) -> Client:
    return await connect(Settings(temporal_address=temporal_address))


@workflow.defn(name="PurchaseWorkflow")
class Broken:
    """The next release, with a bug."""

    @workflow.run
    async def run(self, start: PurchaseInput) -> str:
        raise RuntimeError("a bug")


async def test_a_bug_asks_for_an_engineer_and_is_over_once_a_fix_is_deployed(
    api: httpx2.AsyncClient, settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider, paid: str
) -> None:  # fmt: skip
    trainer(engine)
    purchase = await begin(api, paid)
    async with Worker(
        temporal,
        task_queue=settings.task_queue,
        workflows=[Broken],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        answer = await eventually(lambda: api.get(LIST), lambda it: it.json()["purchases"][0]["problems"], pause=0.2)
    row = answer.json()["purchases"][0]
    assert row["ending"] == "running"
    seen = (await api.get(f"{LIST}/{purchase}/case")).json()
    assert "an engineer" in seen["cause"]
    assert (seen["problems"], seen["actions"]) == (row["problems"], [])
    assert (await api.get(LIST, params={"problems": "true"})).json()["purchases"] == [row]
    found = {check.name: check for check in await look_at_temporal(settings)}["workflow code"]
    assert found.state == WRONG
    assert purchase in found.says
    assert "an engineer is needed" in found.remedy
    async with make_worker(temporal, settings, engine, fake_provider):
        await until(api, purchase, "completed")
    assert (await api.get(LIST)).json()["purchases"][0]["problems"] == []
    assert len(fake_provider.refunds) == 0
