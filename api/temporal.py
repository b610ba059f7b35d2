"""Questions to Temporal: how a run stands, which runs are parked, whether a worker polls; and the acts sent to a run.

Every call is bounded. What Temporal does not answer becomes `Unavailable`, a 503 with Retry-After.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from api.problems import temporal_unavailable
from workflows.attributes import (
    ATTENTION_REASON,
    ATTENTION_SINCE,
    NEEDS_ATTENTION,
    PURCHASE_STAGE,
    REPORTED_PROBLEMS,
    SESSIONS_MISSING,
)
from workflows.messages import Act

RPC_TIMEOUT = timedelta(seconds=5)  # the SDK's own retries would hide ten
_CALL_TIMEOUT = 8.0  # connecting included, which `rpc_timeout` does not cover
# A worker's poll ends after 60 s at most and the next one follows at once.
_POLL_FRESH = timedelta(seconds=75)
_RUNNING = "ExecutionStatus = 'Running'"

_log = structlog.get_logger()


@dataclass(frozen=True)
class Attention:
    """Why a purchase is parked, since when, when it tries again by itself and what an operator can do."""

    reason: str
    since: datetime | None
    next_retry: str | None
    next_action: str | None
    message: str | None = None


@dataclass(frozen=True)
class RunState:
    """A run as Temporal knows it. `status`: RUNNING, COMPLETED, FAILED, CANCELED, TERMINATED, TIMED_OUT."""

    workflow_id: str
    status: str
    stage: str | None
    attention: Attention | None
    next_retry: str | None  # also of a run on a named timer that needs nobody
    problems: list[str] = field(default_factory=list[str])  # its workflow tasks fail: an engineer is needed
    sessions_missing: int = 0
    second_person: dict[str, str] = field(default_factory=dict[str, str])  # waited for; who asked first, by request key

    @property
    def running(self) -> bool:
        return self.status == WorkflowExecutionStatus.RUNNING.name


@asynccontextmanager
async def answering(what: str) -> AsyncGenerator[None]:
    """Around calls to Temporal: silence, a refused connection or an unexpected RPC error raises `Unavailable`.

    Handle the RPC errors you expect inside the block. The SDK's lazy client reports a failed connect as a bare
    RuntimeError.
    """
    try:
        async with asyncio.timeout(_CALL_TIMEOUT):
            yield
    except (RPCError, TimeoutError, RuntimeError) as err:
        if isinstance(err, RuntimeError) and not str(err).startswith("Failed client connect"):
            raise
        status = err.status.name if isinstance(err, RPCError) else type(err).__name__
        _log.warning("temporal_unavailable", call=what, status=status, error=str(err)[:300])
        raise temporal_unavailable() from err


async def run_state(client: Client, workflow_id: str) -> RunState | None:
    """How the latest run of this id stands; None when Temporal never knew it or has forgotten it."""
    async with answering("describe"):
        try:
            found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return _state(found, await found.memo())


async def parked_runs(client: Client, *conditions: str) -> dict[str, RunState]:
    """Every run that needs attention and meets the conditions (visibility query clauses), by workflow id."""
    return await running_runs(client, f"{NEEDS_ATTENTION.name} = true", *conditions)


async def running_runs(client: Client, *conditions: str) -> dict[str, RunState]:
    """Every run that has not ended and meets the conditions (visibility query clauses), by workflow id."""
    return await _listed(client, " AND ".join([_RUNNING, *conditions]))


async def running_states(client: Client, workflow_ids: Collection[str]) -> dict[str, RunState]:
    """How these runs stand, in one question; those that do not run are absent."""
    if not workflow_ids:
        return {}
    return await _listed(client, f"{one_of('WorkflowId', workflow_ids)} AND {_RUNNING}")


async def _listed(client: Client, query: str) -> dict[str, RunState]:
    async with answering("list"):
        return {
            run.id: _state(run, await run.memo())
            async for run in client.list_workflows(query, page_size=1000, rpc_timeout=RPC_TIMEOUT)
        }


async def send_act(client: Client, workflow_id: str, verb: str, said: Act) -> WorkflowUpdateHandle[Any]:
    """Send an Update and wait until the workflow has taken it up (or refused it: the handle's result says so).

    The update id makes one of any number of repeats. Raises the SDK's errors as they are.
    """
    handle: Any = client.get_workflow_handle(workflow_id)  # the SDK's own types of start_update have gaps
    return await handle.start_update(
        verb,
        said,
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        id=f"{said.request_key}:{said.actor}",
        rpc_timeout=RPC_TIMEOUT,
    )


def equals(key: SearchAttributeKey[str], value: str) -> str:
    """A visibility clause. Values are ids and codes checked at the door; a quote can never be in one."""
    return f"{key.name} = '{_quoteless(value)}'"


def one_of(name: str, values: Iterable[str]) -> str:
    """A visibility clause for any of these values."""
    return f"{name} IN ({', '.join(repr(_quoteless(value)) for value in values)})"


async def workers_poll(client: Client, task_queue: str) -> bool:
    """Whether a worker asks for both workflow tasks and activities of this queue, as far as the server has heard."""
    async with answering("describe_task_queue"):
        seen = [
            await client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
                ),
                timeout=RPC_TIMEOUT,
            )
            for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
        ]
    oldest = datetime.now(UTC) - _POLL_FRESH
    return all(
        any(poller.last_access_time.ToDatetime(tzinfo=UTC) > oldest for poller in answer.pollers) for answer in seen
    )


def _state(run: WorkflowExecution, memo: Mapping[str, Any]) -> RunState:
    known = run.typed_search_attributes
    retry, action = memo.get("next_retry"), memo.get("next_action")
    attention = None
    if known.get(NEEDS_ATTENTION) and run.status is WorkflowExecutionStatus.RUNNING:
        reason, since = known.get(ATTENTION_REASON) or "", known.get(ATTENTION_SINCE)
        attention = Attention(reason, since, retry, action, memo.get("message"))
    status = run.status.name if run.status else "UNKNOWN"
    missing = known.get(SESSIONS_MISSING) or 0
    held: dict[str, str] = memo.get("second_person") or {}
    return RunState(run.id, status, known.get(PURCHASE_STAGE), attention, retry, _problems(run), missing, held)


def _problems(run: WorkflowExecution) -> list[str]:
    """What the server says of workflow tasks that keep failing, such as `category=WorkflowTaskFailed`."""
    return list(run.typed_search_attributes.get(REPORTED_PROBLEMS) or [])


def _quoteless(value: str) -> str:
    if "'" in value or "\\" in value:
        raise ValueError("a value with a quote in a visibility query")
    return value
