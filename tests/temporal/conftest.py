"""A real Temporal server, one worker with fake activities, and a fresh payment id per test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.worker import Worker

from domain.purchase import PurchaseOrder
from tests.temporal.fakes import Fakes, order_of
from workflows.expiry import ExpiryWorkflow
from workflows.policies import LOCAL, REGULAR, Rules
from workflows.purchase import PurchaseInput, PurchaseWorkflow

QUEUE = "engine-tests"
# Pauses of milliseconds, deadlines that never come unless a test sets them. In the regular lane a test can hold a step
# while a message comes; in the local lane nothing comes to a purchase before its workflow task is over.
FAST = Rules(
    REGULAR,
    attempt=5,
    local_attempts=1,
    local_pause=0.01,
    quick_pause=0.01,
    trouble_pause=0.05,
    trouble_pause_most=0.2,
    heal_pause=0.05,
    pending_pause=0.05,
)
# Parked until somebody asks: for tests that look at a parked purchase.
PATIENT = replace(FAST, trouble_pause=600, trouble_pause_most=600, heal_pause=600, pending_pause=600)

Handle = WorkflowHandle[PurchaseWorkflow, str]
Start = Callable[..., Awaitable[Handle]]


@pytest.fixture(scope="session")
def fakes() -> Fakes:
    """Each line costs coins, so that every step of the table is in the story."""
    return Fakes(coins=200)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine_worker(temporal: Client, fakes: Fakes) -> AsyncIterator[Worker]:
    """One for each module: between two of them the loop may stand still for minutes, and a worker with it."""
    async with Worker(
        temporal,
        task_queue=QUEUE,
        workflows=[PurchaseWorkflow, ExpiryWorkflow],
        activities=fakes.activities(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    ) as worker:
        yield worker


@pytest.fixture
def order() -> PurchaseOrder:
    return order_of(f"p-{uuid4()}")


@pytest.fixture(params=[REGULAR, LOCAL])
def start_in_either_lane(request: pytest.FixtureRequest, start: Start) -> Start:
    async def begin(order: PurchaseOrder, rules: Rules = FAST) -> Handle:
        return await start(order, replace(rules, lane=request.param))

    return begin


@pytest.fixture
def start(temporal: Client, engine_worker: Worker) -> Start:
    async def begin(order: PurchaseOrder, rules: Rules = FAST) -> Handle:
        return await temporal.start_workflow(
            PurchaseWorkflow.run,
            PurchaseInput(order, rules),
            id=order.workflow_id,
            task_queue=QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )

    return begin
