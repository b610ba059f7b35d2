"""A bug in the workflow's code: seen in the list, the case file and by doctor; mended by a new worker, nothing undone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx2
from sqlalchemy import Engine
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from runtime import checks
from runtime.settings import Settings
from tests.api.conftest import begin, until
from tests.build import FakeProvider, trainer
from worker import make_worker
from workflows.purchase import PurchaseInput

LIST = "/api/v1/admin/purchases"


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
        while not (row := (await api.get(LIST)).json()["purchases"][0])["problems"]:  # noqa: ASYNC110 - it runs elsewhere: no event to wait for
            await asyncio.sleep(0.2)
    assert row["ending"] == "running"
    seen = (await api.get(f"{LIST}/{purchase}/case")).json()
    assert "an engineer" in seen["cause"]
    assert (seen["problems"], seen["actions"]) == (row["problems"], [])
    assert (await api.get(LIST, params={"problems": "true"})).json()["purchases"] == [row]
    found = {check.name: check for check in await checks.temporal(settings)}["workflow code"]
    assert found.state == checks.WRONG
    assert purchase in found.says
    assert "an engineer is needed" in found.remedy
    async with make_worker(temporal, settings, engine, fake_provider):
        await until(api, purchase, "completed")
    assert (await api.get(LIST)).json()["purchases"][0]["problems"] == []
    assert len(fake_provider.refunds) == 0
