"""Builds of workers on a real server: who gets work, how that is told, and how another one becomes current."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker, WorkerDeploymentConfig

from cli.doctor.check import FINE, WRONG, Check
from cli.doctor.temporal import pollers
from gateways.task_queue import UNVERSIONED, Polling, deployment_of, polling
from runtime.temporal import RPC
from runtime.versions import NotReleased, make_current
from tests.waiting import eventually

PATIENCE = 60.0


@activity.defn
async def nothing() -> None: ...


@workflow.defn(sandboxed=False)
class Waits:
    def __init__(self) -> None:
        self._hurried = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._hurried)
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=5))

    @workflow.signal
    def tick(self) -> None:
        """Nothing but a workflow task."""

    @workflow.signal
    def hurry(self) -> None:
        self._hurried = True


@pytest.fixture
def queue() -> str:
    return f"versions.{uuid4()}"


def worker_of(client: Client, queue: str, build: str) -> Worker:
    versioned = build != UNVERSIONED
    return Worker(
        client,
        task_queue=queue,
        workflows=[Waits],
        activities=[nothing],
        identity=build,
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_of(queue), build),
            use_worker_versioning=versioned,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE
            if versioned
            else VersioningBehavior.UNSPECIFIED,
        ),
    )


async def seen(client: Client, queue: str, when: Callable[[Polling], bool]) -> Polling:
    """Who polls, once it is so; the test's timeout bounds it."""
    return await eventually(lambda: polling(client, queue, RPC), when)


async def check(client: Client, queue: str) -> Check:
    return await pollers(client, queue)


async def test_a_build_that_polls_and_gets_no_work_is_named(temporal: Client, queue: str) -> None:
    assert (await polling(temporal, queue, RPC)).fault == "none polls"
    async with worker_of(temporal, queue, "one"):
        found = await seen(temporal, queue, lambda now: "one" in now.workers)
        assert found.fault == "those that poll are of build one and get no work: unversioned is current"
        told = await check(temporal, queue)
        assert (told.state, "`coursaga release`" in told.remedy) == (WRONG, True)
        await make_current(temporal, queue, "one", seconds=PATIENCE)
        assert (await check(temporal, queue)).state == FINE
    async with worker_of(temporal, queue, UNVERSIONED):
        found = await seen(temporal, queue, lambda now: UNVERSIONED in now.workers)
        assert found.current == "one"  # its dead workers are remembered for a while, so `served` says nothing here
        await make_current(temporal, queue, UNVERSIONED, seconds=PATIENCE)
        assert (await polling(temporal, queue, RPC)).current == UNVERSIONED


async def test_a_question_that_is_lost_with_its_connection_is_asked_again(
    temporal: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, lost = temporal.workflow_service.describe_task_queue, list[Any]()

    async def lossy(request: Any, **more: Any) -> Any:
        if request not in lost:
            lost.append(request)
            raise RPCError("operation was canceled", RPCStatusCode.CANCELLED, b"")
        return await ask(request, **more)

    monkeypatch.setattr(temporal.workflow_service, "describe_task_queue", lossy)
    assert (await polling(temporal, queue, RPC)).fault == "none polls"
    assert len(lost) == 2


async def test_a_run_goes_on_with_the_build_that_becomes_current(temporal: Client, queue: str) -> None:
    async with worker_of(temporal, queue, UNVERSIONED), worker_of(temporal, queue, "one"):
        old = await temporal.start_workflow(Waits.run, id=f"{queue}-old", task_queue=queue)
        first = await make_current(temporal, queue, "one", seconds=PATIENCE)
        assert (first.before, first.changed) == (UNVERSIONED, True)
        again = await make_current(temporal, queue, "one", seconds=PATIENCE)
        assert (again.before, again.changed) == ("one", False)
        run = await temporal.start_workflow(Waits.run, id=f"{queue}-run", task_queue=queue)
        await run.query("__stack_trace")  # it has got as far as waiting
        async with worker_of(temporal, queue, "two"):
            await make_current(temporal, queue, "two", seconds=PATIENCE)
            # A worker that holds a run in memory may be asked once more: its own queue hears of the change a moment later.
            await eventually(lambda: ticked(temporal, run.id), lambda builds: builds[-1] == "two")
            for handle in (old, run):
                await handle.signal(Waits.hurry)
                await handle.result()
            builds = await builds_of(temporal, run.id)
            assert (builds[0], builds[-1]) == ("one", "two")
            back = await make_current(temporal, queue, "one", seconds=PATIENCE)
            assert (back.before, back.build) == ("two", "one")


async def ticked(client: Client, workflow_id: str) -> list[str]:
    await client.get_workflow_handle(workflow_id).signal(Waits.tick)
    return await builds_of(client, workflow_id)


async def builds_of(client: Client, workflow_id: str) -> list[str]:
    """Which build did each workflow task of a run."""
    events = client.get_workflow_handle(workflow_id).fetch_history_events()
    done = [event.workflow_task_completed_event_attributes async for event in events]
    return [task.deployment_version.build_id for task in done if task.deployment_version.build_id]


async def test_a_build_without_workers_is_not_made_current(temporal: Client, queue: str) -> None:
    async with worker_of(temporal, queue, "one"):
        await make_current(temporal, queue, "one", seconds=PATIENCE)
        with pytest.raises(
            NotReleased, match=r"no worker of it polls .*those that do: one.*; one goes on.*Start a worker"
        ):
            await make_current(temporal, queue, "two", seconds=0)
        assert (await polling(temporal, queue, RPC)).served
