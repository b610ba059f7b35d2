"""How a command that runs a stack of its own is ended: one way out, and nothing left on a Temporal server that stays."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from types import FrameType

from temporalio.service import RPCError

from runtime.errors import CannotRun
from runtime.schedules import stop_sweeping
from runtime.settings import Settings
from runtime.temporal import connect

INTERRUPTED = 130  # exit code

_ENDS = (signal.SIGINT, signal.SIGTERM)
_EXTERNAL_SECONDS = 10.0


def end_like_ctrl_c() -> None:
    """SIGTERM ends it like Ctrl-C: between asyncio's own handling of SIGINT and Python's, one way out."""

    def like_ctrl_c(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, like_ctrl_c)


def let_it_stop() -> None:
    """From here on no signal ends it: stopping takes a moment and is not to be stopped."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)


async def end_runs(settings: Settings, why: str) -> None:
    """Ends the schedules and open runs of its task queue, if the server answers in time. `why`: as their history says."""
    with suppress(TimeoutError, RPCError, CannotRun):
        async with asyncio.timeout(_EXTERNAL_SECONDS):
            client = await connect(settings)
            await stop_sweeping(client, settings.task_queue)
            open_ones = f"TaskQueue = '{settings.task_queue}' AND ExecutionStatus = 'Running'"
            async for run in client.list_workflows(open_ones):
                await client.get_workflow_handle(run.id, run_id=run.run_id).terminate(why)
