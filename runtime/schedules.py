"""The schedules of Temporal. A worker that serves creates them; one that exists already stays as it is."""

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

from domain.ids import prune_id_of, sweep_id_of
from runtime.temporal import RPC

LESSON_SWEEP_EVERY = timedelta(minutes=15)  # beside the sweep that follows each change of a trainer at once
PRUNE_EVERY = timedelta(days=1)

_log = structlog.get_logger()


async def keep_sweeping(client: Client, task_queue: str) -> None:
    """Create the schedules that look for lessons on closed days and that delete what is kept for a time only."""
    sweep = ScheduleActionStartWorkflow("LessonSweepWorkflow", "", id=sweep_id_of(task_queue), task_queue=task_queue)
    await _keep(client, sweep, LESSON_SWEEP_EVERY)
    prune = ScheduleActionStartWorkflow("PruneWorkflow", id=prune_id_of(task_queue), task_queue=task_queue)
    await _keep(client, prune, PRUNE_EVERY)


async def _keep(client: Client, action: ScheduleActionStartWorkflow, every: timedelta) -> None:
    """Create a schedule, named as its runs are, that runs now and at this interval, one run at a time.

    Log if it fails.
    """
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    try:
        await client.create_schedule(action.id, schedule, trigger_immediately=True, rpc_timeout=RPC)
    except ScheduleAlreadyRunningError:
        return
    except RPCError as error:  # the worker serves nevertheless; its next start tries again
        _log.error("not_scheduled", schedule=action.id, status=error.status.name, reason=error.message)


async def stop_sweeping(client: Client, task_queue: str) -> None:
    """Delete both schedules, for a server that stays although nobody will serve this task queue again."""
    for name in (sweep_id_of(task_queue), prune_id_of(task_queue)):
        with suppress(RPCError):
            await client.get_schedule_handle(name).delete(rpc_timeout=RPC)
