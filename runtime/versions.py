"""Make a build of the workers current, so that it gets the work; `coursaga release` and `coursaga up` do so.

A run goes on with the current build, wherever an earlier one left it; so nothing is made current before its code has
repeated the runs that are open.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from gateways.task_queue import UNVERSIONED, deployment_of, polling
from runtime.errors import CannotRun
from runtime.temporal import RPC

_PAUSE = 0.2  # seconds between two looks
# The server has not heard of the build, or not of all it polls; or somebody else makes one current right now.
_NOT_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED)


class NotReleased(CannotRun):
    """The build was not made current, and the earlier one goes on; the message says why and what to do."""


@dataclass(frozen=True)
class Released:
    """Result of a release. `build` is current now; `before` was until then, the same when nothing had to be changed."""

    build: str
    before: str

    @property
    def changed(self) -> bool:
        """Whether another build was current before."""
        return self.build != self.before


def open_runs(task_queue: str) -> str:
    """Return the visibility query for all runs of this queue that are not closed, paused ones too."""
    name = task_queue.replace("'", "''")
    return f"TaskQueue = '{name}' AND CloseTime IS NULL"


async def make_current(client: Client, task_queue: str, build: str, *, seconds: float) -> Released:
    """Give the work to the workers of this build (or to `UNVERSIONED` ones). Safe to repeat.

    Waits until one of them polls, and until the queue uses the build. Raises NotReleased after `seconds`.
    """
    until = time.monotonic() + seconds
    before: str | None = None
    while True:
        seen = await polling(client, task_queue, RPC)
        if before is None and (seen.workers or seen.current == build):
            before = seen.current
        if build in seen.workers:
            if seen.current == build:
                return Released(build, before or build)
            why = await _set(client, task_queue, build)
        else:
            others = ", ".join(sorted(seen.workers)) or "none"
            why = f"no worker of it polls {task_queue!r} (those that do: {others})"
        if time.monotonic() > until:
            how = "`WORKER_VERSIONING=true coursaga worker`" if build != UNVERSIONED else "`coursaga worker`"
            raise NotReleased(
                f"build {build} was not made current within {seconds:.0f} s: {why}; {seen.current} goes on. "
                f"Start a worker of it with {how}, then ask again"
            )
        await asyncio.sleep(_PAUSE)


async def _set(client: Client, task_queue: str, build: str) -> str:
    """Ask the server to make the build current; return why it is not yet so."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=deployment_of(task_queue),
        build_id="" if build == UNVERSIONED else build,
        identity=client.identity,
    )
    try:
        await client.workflow_service.set_worker_deployment_current_version(request, timeout=RPC)
    except RPCError as error:
        if error.status not in _NOT_YET:
            raise
        return error.message
    return "the server has not told all of its parts yet"
