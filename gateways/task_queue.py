"""Find out who polls a task queue of the Temporal server, of which build they are, and whether they get any work.

Workers come in builds (Temporal's worker versioning): of all that poll, only those of the current build get work. As
long as no build has been made current, the workers without versioning get it.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

UNVERSIONED = "unversioned"
_KINDS = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
# A worker's poll ends after 60 s at most and the next one follows at once.
_FRESH = timedelta(seconds=75)


@dataclass(frozen=True)
class Polling:
    """Who polled lately: `workers` maps each build to the identities of its workers.

    A build is in it only when both its workflow tasks and its activities are polled for. `current` is the build that
    gets the work; workers without versioning count as the build `UNVERSIONED`.
    """

    current: str
    workers: dict[str, frozenset[str]]

    @property
    def served(self) -> bool:
        """Return whether anybody gets the work."""
        return self.current in self.workers

    @property
    def fault(self) -> str:
        """Return why nobody gets the work, as the rest of a sentence; empty when somebody does."""
        if self.served:
            return ""
        if not self.workers:
            return "none polls"
        others = ", ".join(sorted(self.workers))
        return f"those that poll are of build {others} and get no work: {self.current} is current"


def deployment_of(task_queue: str) -> str:
    """Return the name of the deployment that holds the builds of a queue's workers; it must have no "." and no ":"."""
    return re.sub("[.:]", "-", task_queue)


async def polling(client: Client, task_queue: str, rpc_timeout: timedelta) -> Polling:
    """Return who polls this queue, as the server knows it: nobody while the current build changes. Raises RPCError."""
    workflows, activities = await asyncio.gather(
        *(_described(client, task_queue, kind, rpc_timeout) for kind in _KINDS)
    )
    asked, acted = _builds(workflows), _builds(activities)
    current = workflows.versioning_info.current_deployment_version.build_id or UNVERSIONED
    if (activities.versioning_info.current_deployment_version.build_id or UNVERSIONED) != current:
        return Polling(current, {})  # a change of the current build is under way
    return Polling(current, {build: asked[build] | acted[build] for build in asked.keys() & acted.keys()})


async def _described(
    client: Client, task_queue: str, kind: TaskQueueType.ValueType, rpc_timeout: timedelta
) -> DescribeTaskQueueResponse:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
    )
    try:
        return await client.workflow_service.describe_task_queue(request, timeout=rpc_timeout)
    except RPCError as error:
        if error.status is not RPCStatusCode.CANCELLED:
            raise
    # Dropped on the way, for nobody here cancels a question. It only reads, so it is asked again.
    return await client.workflow_service.describe_task_queue(request, timeout=rpc_timeout)


def _builds(answer: DescribeTaskQueueResponse) -> dict[str, frozenset[str]]:
    oldest = datetime.now(UTC) - _FRESH
    found: dict[str, frozenset[str]] = {}
    for poller in answer.pollers:
        if poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest:
            build = _build_of(poller)
            found[build] = found.get(build, frozenset()) | {poller.identity}
    return found


def _build_of(poller: PollerInfo) -> str:
    options = poller.deployment_options
    versioned = options.worker_versioning_mode == WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    return options.build_id if versioned else UNVERSIONED
