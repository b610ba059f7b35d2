"""A bug in workflow code: seen as needing an engineer, nothing undone, mended by deploying a fixed worker."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from domain.purchase import PurchaseOrder
from tests.temporal.conftest import FAST, QUEUE
from tests.temporal.fakes import Fakes
from tests.temporal.test_engine_endings import HAPPY
from tests.waiting import eventually
from workflows.purchase import PurchaseInput, PurchaseWorkflow

SHORT = timedelta(seconds=2)  # a task that fails for the second time is noticed when its time is over
PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")


@workflow.defn(name="PurchaseWorkflow")
class WithABug:
    @workflow.run
    async def run(self, start: PurchaseInput) -> str:
        raise KeyError(start.order.payment_id)


async def test_a_bug_suspends_is_reported_and_goes_on_with_fixed_code(
    temporal: Client, order: PurchaseOrder, fakes: Fakes
) -> None:
    queue = f"{QUEUE}-{order.payment_id}"
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[WithABug],
        activities=fakes.activities(),
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await temporal.start_workflow(
            PurchaseWorkflow.run, PurchaseInput(order, FAST), id=order.workflow_id, task_queue=queue, task_timeout=SHORT
        )
        seen = await eventually(handle.describe, lambda seen: seen.typed_search_attributes.get(PROBLEMS))
        problems = seen.typed_search_attributes[PROBLEMS]
        assert any("WorkflowTaskFailed" in problem for problem in problems)
    assert fakes.did(order) == []

    async with Worker(temporal, task_queue=queue, workflows=[PurchaseWorkflow], activities=fakes.activities()):
        assert await handle.result() == "completed"
    assert fakes.did(order) == HAPPY
    assert not (await handle.describe()).typed_search_attributes.get(PROBLEMS)
