"""Ask Temporal for the state of a run, for parked runs or whether a worker polls, and send acts to a run.

Every call has a time limit. Where Temporal does not answer, `answering` raises `Unavailable`, a 503 with Retry-After.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client, WorkflowUpdateHandle, WorkflowUpdateStage
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from application.errors import temporal_unavailable
from application.run_states import RunState, read_run
from domain.ids import update_id_of
from domain.runs import kind_of
from gateways.task_queue import Polling, polling
from workflows.attributes import NEEDS_ATTENTION
from workflows.messages import Act

RPC_TIMEOUT = timedelta(seconds=5)  # the SDK's own retries would hide ten
_CALL_TIMEOUT = 8.0  # connecting included, which `rpc_timeout` does not cover
_OPEN = "CloseTime IS NULL"  # also of a status that this version does not know
_OF_PURCHASES = "WorkflowType = 'PurchaseWorkflow'"
_IDS_AT_ONCE = 500
_UNNAMEABLE = re.compile(r'["\\\x00-\x1f\x7f]')

_log = structlog.get_logger()


@dataclass(frozen=True)
class Condition:
    """A condition on runs: a search attribute, or the workflow id, has one of these values.

    The server's queries cannot name every value (see `_literal`). Where they cannot, the clause finds too many runs,
    and `holds` leaves out those that do not fit.
    """

    name: str
    values: tuple[str, ...]

    @property
    def clause(self) -> str:
        named = [literal for value in self.values if (literal := _literal(value))]
        parts = [f"{self.name} IN ({', '.join(named)})"] if named else []
        parts += [_begins(self.name, value) for value in self.values if _literal(value) is None]
        return f"({' OR '.join(parts)})"

    def holds(self, info: WorkflowExecutionInfo) -> bool:
        """Return whether a run that the clause found meets the condition."""
        return not any(_literal(value) is None for value in self.values) or self._of(info) in self.values

    def _of(self, info: WorkflowExecutionInfo) -> object:
        return json.loads(info.search_attributes.indexed_fields[self.name].data or b"null")


@asynccontextmanager
async def answering(what: str) -> AsyncGenerator[None]:
    """Turn a timeout, a refused connection or an unexpected RPC error in calls to Temporal into `Unavailable`.

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
    """Return the state of the latest run of this id; None when Temporal never knew it or has forgotten it."""
    asked = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    async with answering("describe"):
        try:
            said = await client.workflow_service.describe_workflow_execution(asked, retry=True, timeout=RPC_TIMEOUT)
        except RPCError as err:
            if err.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return await read_run(client, said.workflow_execution_info, said.workflow_extended_info)


async def parked_runs(client: Client, *conditions: Condition) -> dict[str, RunState]:
    """Return every purchase run that waits for somebody and meets the conditions, by workflow id; paused ones, too."""
    return await running_runs(client, *conditions, where=f"{NEEDS_ATTENTION.name} = true")


async def running_runs(client: Client, *conditions: Condition, where: str = "") -> dict[str, RunState]:
    """Return every purchase's run that is open and meets the conditions, by workflow id. `where`: one more clause."""
    clauses = [_OPEN, _OF_PURCHASES, *([where] if where else []), *(condition.clause for condition in conditions)]
    async with answering("list"):
        return {
            info.execution.workflow_id: await read_run(client, info)
            async for info in executions(client, " AND ".join(clauses))
            if all(condition.holds(info) for condition in conditions)
        }


async def run_states(client: Client, workflow_ids: Iterable[str]) -> dict[str, RunState]:
    """Return the state of the latest run of each of these ids, closed or not, by workflow id.

    An id is absent when lists know no run of it yet, or when no query can name it: ask for such ids one by one.
    """
    named = [literal for workflow_id in workflow_ids if (literal := _literal(workflow_id))]
    latest: dict[str, WorkflowExecutionInfo] = {}
    async with answering("list"):
        for first in range(0, len(named), _IDS_AT_ONCE):
            query = f"WorkflowId IN ({', '.join(named[first : first + _IDS_AT_ONCE])})"
            async for info in executions(client, query):
                before = latest.setdefault(info.execution.workflow_id, info)
                if _age(info) > _age(before):
                    latest[info.execution.workflow_id] = info
        return {workflow_id: await read_run(client, info) for workflow_id, info in latest.items()}


async def executions(client: Client, query: str) -> AsyncGenerator[WorkflowExecutionInfo]:
    """Yield what visibility says of each run that a query finds, unconverted. Raises the SDK's errors unchanged."""
    token = b""
    while True:
        asked = ListWorkflowExecutionsRequest(
            namespace=client.namespace, query=query, page_size=1000, next_page_token=token
        )
        page = await client.workflow_service.list_workflow_executions(asked, retry=True, timeout=RPC_TIMEOUT)
        for info in page.executions:
            yield info
        if not (token := page.next_page_token):
            return


async def send_act(client: Client, workflow_id: str, verb: str, said: Act) -> WorkflowUpdateHandle[Any]:
    """Send an Update and wait until the workflow has taken it up (or refused it: the handle's result says so).

    Repeats have the same update id, so they are one Update. Raises the SDK's errors unchanged.
    """
    handle: Any = client.get_workflow_handle(workflow_id)  # the SDK's own types of start_update have gaps
    return await handle.start_update(
        verb,
        said,
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        id=update_id_of(verb, said.request_key, said.actor, _digest(said)),
        rpc_timeout=RPC_TIMEOUT,
    )


def _digest(said: Act) -> str:
    """Return a digest of the body, so that another body under the same key is another Update and is looked at."""
    return hashlib.sha256(json.dumps(said.values, sort_keys=True).encode()).hexdigest()[:16] if said.values else ""


def equals(key: SearchAttributeKey[str], value: str) -> Condition:
    """Return the condition that a search attribute has this value, whatever its characters."""
    return Condition(key.name, (value,))


def one_of(name: str, values: Iterable[str]) -> Condition:
    """Return the condition that `name` has any of these values."""
    return Condition(name, tuple(values))


async def who_polls(client: Client, task_queue: str) -> Polling:
    """Return who polls this queue, and whether anybody gets its work. Raises `Unavailable`."""
    async with answering("describe_task_queue"):
        return await polling(client, task_queue, RPC_TIMEOUT)


async def workers_poll(client: Client, task_queue: str) -> bool:
    """Return whether a worker that gets work asks for both workflow tasks and activities of this queue."""
    return (await who_polls(client, task_queue)).served


def _literal(value: str) -> str | None:
    """Return the value as a query writes it; None for one that the server's queries cannot name.

    The server rewrites what is between the quotes before it compares: that changes a backslash, a double quote and
    control characters, and removes quotes at either end.
    """
    if _UNNAMEABLE.search(value) or value.strip("'") != value:
        return None
    return "'{}'".format(value.replace("'", "''"))


def _begins(name: str, value: str) -> str:
    start = _UNNAMEABLE.split(value, maxsplit=1)[0].rstrip("'")
    literal = _literal(start) if start else None
    return f"{name} STARTS_WITH {literal}" if literal else f"{name} IS NOT NULL"


def _age(info: WorkflowExecutionInfo) -> tuple[int, int, bool]:
    """Return a sort key: a run that started later is greater; of two that started together the open one is."""
    return info.start_time.seconds, info.start_time.nanos, kind_of(info.status).open
