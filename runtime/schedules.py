"""What Temporal starts by the clock. Made by a worker that serves; one that is there already stays as it is."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError

from domain.ids import sweep_id_of
from runtime.temporal import RPC

LESSON_SWEEP_EVERY = timedelta(minutes=15)  # beside the sweep that follows each change of a trainer at once

_log = structlog.get_logger()


async def keep_sweeping(client: Client, task_queue: str) -> None:
    """Lessons that stand on a day closed later are looked for, now and every 15 minutes, for good."""
    name = sweep_id_of(task_queue)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow("LessonSweepWorkflow", "", id=name, task_queue=task_queue),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=LESSON_SWEEP_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    try:
        await client.create_schedule(name, schedule, trigger_immediately=True, rpc_timeout=RPC)
    except ScheduleAlreadyRunningError:
        return
    except RPCError as error:  # the worker serves nevertheless; its next start tries again
        _log.error("lesson_sweep_not_scheduled", status=error.status.name, reason=error.message)


async def stop_sweeping(client: Client, task_queue: str) -> None:
    """Leaves no schedule behind on a server that stays, where nobody will serve this task queue again."""
    with suppress(RPCError):
        await client.get_schedule_handle(sweep_id_of(task_queue)).delete(rpc_timeout=RPC)
