"""The bench reads in a history which activities a workflow ran, be they tasks of their own or run within one of its own."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from cli.bench.with_workflow import activities_of
from domain.purchase import PurchaseOrder


@activity.defn(name="apart")
async def apart() -> None:
    """An activity with a task of its own."""


@activity.defn(name="within")
async def within() -> None:
    """An activity that the worker runs within the workflow's task."""


@workflow.defn(name="BothKinds")
class BothKinds:
    """One of each."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(within, start_to_close_timeout=timedelta(seconds=10))
        await workflow.execute_activity(apart, start_to_close_timeout=timedelta(seconds=10))


async def test_both_kinds_of_activities_are_named(temporal: Client):
    name = f"bench-history-{uuid4()}"
    async with Worker(
        temporal, task_queue=name, workflows=[BothKinds], activities=[apart, within],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):  # fmt: skip
        await temporal.execute_workflow(BothKinds.run, id=name, task_queue=name)
        order = PurchaseOrder("purchase", name, "payment", 1, "student")
        assert await activities_of(temporal, order) == ["within", "apart"]
