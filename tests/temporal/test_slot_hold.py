"""The timer of a slot hold: it outlives its worker, fires once, and comes back to a release that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest_asyncio
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from domain.ids import hold_workflow_id_of
from workflows.policies import Rules
from workflows.slot_hold import HoldInput, SlotHoldWorkflow

QUEUE = "slot-hold-tests"


@dataclass
class FakeRelease:
    """release_hold that fails as often as it is told to; `asked`: every try, by hold."""

    asked: list[str] = field(default_factory=list[str])
    failures: int = 0

    @activity.defn(name="release_hold")
    async def release_hold(self, hold_id: str) -> bool:
        self.asked.append(hold_id)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the database is away")
        return True


def worker(temporal: Client, release: FakeRelease) -> Worker:
    return Worker(
        temporal, task_queue=QUEUE, workflows=[SlotHoldWorkflow], activities=[release.release_hold],
        graceful_shutdown_timeout=timedelta(seconds=1), sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
    )  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def release() -> AsyncIterator[FakeRelease]:
    yield FakeRelease()


async def test_it_ends_the_hold_whenever_a_worker_is_there_again(temporal: Client, release: FakeRelease) -> None:
    release.failures = 1
    hold_id = str(uuid4())
    async with worker(temporal, release):
        handle = await temporal.start_workflow(
            SlotHoldWorkflow.run, HoldInput(hold_id, 1.0, Rules()), id=hold_workflow_id_of(hold_id), task_queue=QUEUE
        )
        described = await handle.describe()
        assert described.id == f"hold:{hold_id}"
    async with worker(temporal, release):  # another one, which replays what the first one did
        assert await handle.result() is True
    assert release.asked == [hold_id, hold_id], "a failed try, then the one that did it"
    history = await handle.fetch_history()
    await Replayer(workflows=[SlotHoldWorkflow]).replay_workflow(history)
