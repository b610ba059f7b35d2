"""Start the sweep for lessons on days that were closed after they were planned, soon after such a change."""

from __future__ import annotations

import structlog
from temporalio.client import Client, ScheduleOverlapPolicy

from application.context import Services
from application.errors import Unavailable
from application.temporal_client import RPC_TIMEOUT, answering
from domain.ids import sweep_id_of

_log = structlog.get_logger()


def sweep_lessons_later(services: Services, because: str) -> None:
    """Look for lessons on days just closed, in the background; if Temporal is away, its schedule does so later."""
    services.later(_sweep(services.temporal, services.task_queue, because))


async def _sweep(client: Client, task_queue: str, because: str) -> None:
    try:
        async with answering("trigger"):
            # One that runs now may have looked already: another follows it.
            schedule = client.get_schedule_handle(sweep_id_of(task_queue))
            await schedule.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE, rpc_timeout=RPC_TIMEOUT)
    except Unavailable:
        _log.warning("lesson_sweep_missed", because=because)
