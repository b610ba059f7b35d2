"""Wake purchases at once after a commit that may fix what they wait for, and once more a little later.

The second sweep wakes purchases that parked while the first one ran. All of it is best effort: what is missed here
is tried again by the purchase itself (every 15 minutes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from application.context import Services
from application.errors import Unavailable
from application.temporal_client import RPC_TIMEOUT, Condition, answering, one_of, parked_runs, workers_poll
from workflows.attributes import ATTENTION_REASON

_AGAIN_AFTER = 2.0  # seconds
_MAX_CONCURRENCY = 16  # signals in flight

_log = structlog.get_logger()


@dataclass(frozen=True)
class WakeFilter:
    """Which reasons to wait a change may have fixed, of which purchases (`only`), and what changed (`because`)."""

    reasons: Sequence[str]
    because: str
    only: Sequence[Condition] = ()


def wake_later(services: Services, which: WakeFilter) -> None:
    """Sweep in the background; the caller's answer does not wait for it and does not fail with it."""
    services.later(_sweep_twice(services.temporal, services.task_queue, which))


async def sweep(client: Client, task_queue: str, which: WakeFilter) -> int:
    """Wake every purchase parked for one of the reasons; return how many were woken. Raises `Unavailable`."""
    if not await workers_poll(client, task_queue):
        return 0  # nobody would look; when a worker is back they try again by themselves
    parked = await parked_runs(client, one_of(ATTENTION_REASON.name, which.reasons), *which.only)
    gate = asyncio.Semaphore(_MAX_CONCURRENCY)

    async def wake(workflow_id: str) -> bool:
        async with gate:
            return await _wake(client, workflow_id, which.because)

    return sum(await asyncio.gather(*(wake(workflow_id) for workflow_id in parked)))


async def _sweep_twice(client: Client, task_queue: str, which: WakeFilter) -> None:
    for pause in (0.0, _AGAIN_AFTER):
        await asyncio.sleep(pause)
        try:
            woken = await sweep(client, task_queue, which)
        except Unavailable:
            _log.warning("healing_sweep_missed", because=which.because)
        else:
            _log.info("healing_sweep", because=which.because, reasons=list(which.reasons), woken=woken)


async def _wake(client: Client, workflow_id: str, because: str) -> bool:
    try:
        async with answering("wake"):
            await client.get_workflow_handle(workflow_id).signal("wake", because, rpc_timeout=RPC_TIMEOUT)
    except (Unavailable, RPCError) as err:
        _log.warning("healing_wake_missed", workflow_id=workflow_id, error=type(err).__name__)
        return False
    return True
