"""End a command that runs a stack of its own: one way out, and nothing left on a Temporal server that stays."""

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
    """Let SIGTERM end the process like Ctrl-C: there is one way out, between asyncio's handling of SIGINT and
    Python's."""

    def like_ctrl_c(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, like_ctrl_c)


def let_it_stop() -> None:
    """Ignore SIGINT and SIGTERM from here on: stopping takes a moment and must not be interrupted."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)


async def end_runs(settings: Settings, why: str) -> None:
    """Delete the schedules and terminate the open runs of the task queue, if the server answers in time.

    Histories say `why`.
    """
    with suppress(TimeoutError, RPCError, CannotRun):
        async with asyncio.timeout(_EXTERNAL_SECONDS):
            client = await connect(settings)
            await stop_sweeping(client, settings.task_queue)
            open_ones = f"TaskQueue = '{settings.task_queue}' AND ExecutionStatus = 'Running'"
            async for run in client.list_workflows(open_ones):
                await client.get_workflow_handle(run.id, run_id=run.run_id).terminate(why)
