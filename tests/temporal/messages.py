"""Talking to a purchase in tests: acts, cancels, waiting until it is parked."""

from __future__ import annotations

from temporalio.client import WorkflowHandle, WorkflowUpdateHandle, WorkflowUpdateStage

from tests.waiting import eventually
from workflows.messages import Act, Cancel
from workflows.purchase import PurchaseWorkflow
from workflows.visibility import Attention, Progress

ACCEPTED = WorkflowUpdateStage.ACCEPTED
Handle = WorkflowHandle[PurchaseWorkflow, str]


def act(key: str) -> Act:
    return Act("ann", "asked for by a test", key)


def cancelling(key: str, refund: str = "full") -> Cancel:
    return Cancel("ann", "asked for by a test", key, refund)


async def progress(handle: Handle) -> Progress:
    return await handle.query(PurchaseWorkflow.progress)


async def parked(handle: Handle) -> Attention:
    """Wait until it needs attention, if only for a moment; the test's timeout bounds it."""
    seen = await eventually(lambda: progress(handle), lambda seen: seen.attention, pause=0.01)
    assert seen.attention
    return seen.attention


async def cancel(handle: Handle, how: str, key: str = "cancel") -> WorkflowUpdateHandle[str] | None:
    if how == "client":
        await handle.cancel()
        return None
    return await handle.start_update(PurchaseWorkflow.cancel, cancelling(key), wait_for_stage=ACCEPTED)
