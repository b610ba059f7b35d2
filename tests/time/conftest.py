"""A Temporal server that skips time, and a shop on a real database whose runs live through months in seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper, TimeSkippingConfig
from temporalio.worker import Worker

from activities.error_mapping import Boundary
from domain.purchase import PurchaseOrder
from runtime.settings import Settings
from runtime.temporal import connect_to
from tests import build
from tests.build import LESSONS
from tests.gateways.in_memory import FakeProvider
from tests.servers import temporal_server
from tests.time.skipping import TimeOfTheRun
from worker import activities_of
from workflows.expiry import ExpiryWorkflow
from workflows.policies import Rules
from workflows.purchase import PurchaseInput, PurchaseWorkflow
from workflows.slot_hold import SlotHoldWorkflow

Handle = WorkflowHandle[Any, Any]
_OFTEN = TimeSkippingConfig(max_session_skip_count=10_000)  # by default time stands after a hundred timers or so


@dataclass
class Shop:
    """A course, a student and a trainer in London, on a queue with a real worker."""

    engine: Engine
    provider: FakeProvider
    client: Client
    queue: str

    async def buy(self, rules: Rules, *, status: str = "succeeded", **metadata: Any) -> tuple[PurchaseOrder, Handle]:
        """A purchase of ten lessons that has just started; a field that is None is left out."""
        said = {name: each for name, each in {**LESSONS, **metadata}.items() if each is not None}
        payment = build.pay(self.engine, self.provider, f"pay-{uuid4()}", status=status, metadata=said)
        order = build.start(self.engine, payment)
        return order, await self.client.start_workflow(
            PurchaseWorkflow.run, PurchaseInput(order, rules), id=order.workflow_id, task_queue=self.queue
        )

    async def passes(self, run: Handle, time: timedelta) -> None:
        """So much time passes for this run, or less if it ends on the way; what it does meanwhile is done.

        Now and then the server goes on to the run's next timer, so a test reads when something ended and does not
        stop just before.
        """
        await TimeSkipper(self.client, config=_OFTEN).fast_forward(run, time)

    def value(self, query: str) -> Any:
        """The single value of a query, None when there is no row."""
        return build.value(self.engine, query)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def skipping_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Skips time for runs that are told to; a server of its own, so that no other test can be told."""
    home = tmp_path_factory.mktemp("skipping")
    with temporal_server(home, {"frontend.WorkflowTimeSkippingEnabled": True}) as address:
        yield await connect_to(address, "default")


@pytest_asyncio.fixture(loop_scope="session")
async def shop(engine: Engine, fake_provider: FakeProvider, skipping_server: Client) -> AsyncIterator[Shop]:
    queue, time = f"skipping-{uuid4()}", TimeOfTheRun()
    build.student(engine)
    build.item(engine)
    build.trainer(engine)
    async with Worker(
        skipping_server,
        task_queue=queue,
        workflows=[PurchaseWorkflow, ExpiryWorkflow, SlotHoldWorkflow],
        activities=activities_of(engine, fake_provider, time, auto_approve=True, keep_for=Settings().keep_for),
        activity_executor=ThreadPoolExecutor(4),
        interceptors=[Boundary(), time],
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield Shop(engine, fake_provider, skipping_server, queue)
        async for run in skipping_server.list_workflows(f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"):
            with suppress(RPCError):  # it may have ended: what is listed is a moment old
                await skipping_server.get_workflow_handle(run.id).terminate("the test is over")
