"""How the API reaches the workflow that ends the access of a purchase; it is started first where it does not run."""

from __future__ import annotations

from typing import Any

from temporalio.client import WithStartWorkflowOperation, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.common import WorkflowIDConflictPolicy

from application.context import Services
from application.temporal_client import RPC_TIMEOUT
from db.reads.starts import StartRow
from domain.ids import expiry_id_of, update_id_of
from workflows.expiry import ExpiryInput, ExpiryWorkflow, about, summary
from workflows.messages import Extend


async def send_extension(services: Services, start: StartRow, said: Extend) -> WorkflowUpdateHandle[str]:
    """Send the Update that extends access, starting its workflow if need be, and wait until a worker has taken it up.

    Raises the SDK's errors unchanged.
    """
    order = start.order
    begun: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        ExpiryWorkflow.run,
        ExpiryInput(order, services.rules),
        id=expiry_id_of(order.purchase_id),
        task_queue=services.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=about(order),
        static_summary=summary(order),
    )
    client: Any = services.temporal  # the SDK's own types of it have gaps
    return await client.start_update_with_start_workflow(
        ExpiryWorkflow.extend,
        said,
        start_workflow_operation=begun,
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        id=update_id_of("extend", said.request_key, said.actor),
        rpc_timeout=RPC_TIMEOUT,
    )
