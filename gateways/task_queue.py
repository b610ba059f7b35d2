"""Who asks the Temporal server for the work of a task queue, of which build, and whether they are given any.

Workers come in builds (Temporal's worker versioning): of all that poll, only those of the current one get work. As long
as no build has been made current, those get it that are of none.
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

UNVERSIONED = "unversioned"
_KINDS = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
# A worker's poll ends after 60 s at most and the next one follows at once.
_FRESH = timedelta(seconds=75)


@dataclass(frozen=True)
class Polling:
    """Who polled lately: build -> identities of workers that ask for workflow tasks and activities alike.

    `current` is the build that gets the work; of workers without versioning both are `UNVERSIONED`.
    """

    current: str
    workers: dict[str, frozenset[str]]

    @property
    def served(self) -> bool:
        """Whether anybody gets the work."""
        return self.current in self.workers

    @property
    def fault(self) -> str:
        """Why nobody gets the work, as the rest of a sentence; empty when somebody does."""
        if self.served:
            return ""
        if not self.workers:
            return "none polls"
        others = ", ".join(sorted(self.workers))
        return f"those that poll are of build {others} and get no work: {self.current} is current"


def deployment_of(task_queue: str) -> str:
    """What the builds of a task queue's workers are kept under; Temporal's names hold no "." and no ":"."""
    return re.sub("[.:]", "-", task_queue)


async def polling(client: Client, task_queue: str, rpc_timeout: timedelta) -> Polling:
    """Who polls this queue, as far as the server has heard. Raises RPCError."""
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
