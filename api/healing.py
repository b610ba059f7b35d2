"""After a commit that may fix what purchases wait for, wakes them: `retry_now` at once and once more a little later.

The second sweep meets purchases that parked while the first one ran. All of it is best effort: what is missed here
is tried again by the purchase itself (every 15 minutes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog
from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from api.problems import Unavailable
from api.services import Services
from api.temporal import answering, one_of, parked_runs, send_act, workers_poll
from workflows.attributes import ATTENTION_REASON
from workflows.messages import Act

SYSTEM = "system"
_AGAIN_AFTER = 2.0  # seconds
_AT_ONCE = 16  # updates in flight

_log = structlog.get_logger()


@dataclass(frozen=True)
class Healed:
    """Which reasons a change may have fixed, of which purchases (visibility clauses), and what changed."""

    reasons: Sequence[str]
    because: str
    only: Sequence[str] = ()


def wake_later(at: Services, healed: Healed) -> None:
    """Sweep in the background; the caller's answer does not wait for it and does not fail with it."""
    task = asyncio.create_task(_sweep_twice(at.temporal, at.task_queue, healed))
    at.tasks.add(task)  # the loop holds tasks weakly
    task.add_done_callback(at.tasks.discard)


async def sweep(client: Client, task_queue: str, healed: Healed) -> int:
    """Send `retry_now` to every purchase parked for one of the reasons; how many took it. Raises `Unavailable`."""
    if not await workers_poll(client, task_queue):
        return 0  # each would wait in vain; when a worker is back they try again by themselves
    parked = await parked_runs(client, one_of(ATTENTION_REASON.name, healed.reasons), *healed.only)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def wake(workflow_id: str) -> bool:
        async with gate:
            return await _retry(client, workflow_id, healed.because)

    return sum(await asyncio.gather(*(wake(workflow_id) for workflow_id in parked)))


async def _sweep_twice(client: Client, task_queue: str, healed: Healed) -> None:
    for pause in (0.0, _AGAIN_AFTER):
        await asyncio.sleep(pause)
        try:
            woken = await sweep(client, task_queue, healed)
        except Unavailable:
            _log.warning("healing_sweep_missed", because=healed.because)
        else:
            _log.info("healing_sweep", because=healed.because, reasons=list(healed.reasons), woken=woken)


async def _retry(client: Client, workflow_id: str, because: str) -> bool:
    try:
        async with answering("retry_now"):
            await send_act(client, workflow_id, "retry_now", Act(SYSTEM, because, f"heal-{uuid4()}"))
    except (Unavailable, RPCError, WorkflowUpdateRPCTimeoutOrCancelledError) as err:
        _log.warning("healing_retry_missed", workflow_id=workflow_id, error=type(err).__name__)
        return False
    return True
