"""Replay the open runs with this build's code, then make it the current build of the stack's task queue."""

from __future__ import annotations

import os
import subprocess
import sys

from temporalio.service import RPCError

from gateways.task_queue import UNVERSIONED
from runtime.build import build_id
from runtime.child_processes import StartFailed
from runtime.embedded.sync_bridge import aside
from runtime.settings import Settings
from runtime.temporal import RPC, connect
from runtime.versions import NotReleased, Released, make_current, open_runs


async def any_open_runs(settings: Settings) -> bool:
    """Return whether a run is open that this code would have to go on with."""
    client = await connect(settings)
    return (await client.count_workflows(open_runs(settings.task_queue), rpc_timeout=RPC)).count > 0


def replay_open_runs(settings: Settings) -> None:
    """Replay the open runs; raise StartFailed when this code cannot go on with one of them.

    Runs in a process of its own: what a failed replay leaves in its threads must not stay in this one.
    """
    command = [sys.executable, "-m", "cli.main", "release", "--check"]
    environment = {**os.environ, **settings.environment()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartFailed(
            f"no worker was started: this code may not go on with the runs that are open\n{done.stdout}{done.stderr}"
            "To give them up, start afresh with `coursaga down --wipe`"
        )


def released(settings: Settings) -> bool:
    """Make this build current, if it is not; return whether its workers get the work now."""
    try:
        aside(lambda: _release(settings))
    except (NotReleased, RPCError):
        return False
    return True


async def _release(settings: Settings) -> Released:
    build = build_id() if settings.worker_versioning else UNVERSIONED
    return await make_current(await connect(settings), settings.task_queue, build, seconds=2)
