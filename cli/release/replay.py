"""Check that this code repeats the open runs: what earlier code has done must be what this code would have done.

A run whose history the code does not repeat does not go on, until code comes that repeats it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field

from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from runtime.payloads import DATA_CONVERTER
from runtime.temporal import RPC
from runtime.versions import open_runs
from workflows.served import WORKFLOWS

NEWEST = OLDEST = 100  # of each type of workflow
_SAID = 400  # characters of a reason


@dataclass(frozen=True)
class Broken:
    """A run that this code does not repeat; `why` says what differs."""

    workflow_id: str
    run_id: str
    workflow_type: str
    why: str


@dataclass
class Replay:
    """Counts of open and of replayed runs by type of workflow, and the runs that this code does not repeat."""

    open: Counter[str] = field(default_factory=Counter[str])
    replayed: Counter[str] = field(default_factory=Counter[str])
    broken: list[Broken] = field(default_factory=list[Broken])

    def report(self) -> dict[str, object]:
        """Return the object that --json prints."""
        return {
            "open": dict(self.open),
            "replayed": dict(self.replayed),
            "broken": [asdict(run) for run in self.broken],
        }


def replayer() -> Replayer:
    """Return a replayer that repeats histories as a worker would: same workflows, same sandbox, same data converter.

    It is quiet: the SDK would print each difference on stdout, which is for our own answer.
    """
    quiet = Runtime(telemetry=TelemetryConfig(logging=None))
    return Replayer(workflows=WORKFLOWS, data_converter=DATA_CONVERTER, runtime=quiet)


async def why_not_repeated(told: Replayer, history: WorkflowHistory) -> str | None:
    """Return what differs between the history and what the code would have done; None when nothing does."""
    outcome = await told.replay_workflow(history, raise_on_replay_failure=False)
    return str(outcome.replay_failure) if outcome.replay_failure else None


async def replay_open_runs(client: Client, task_queue: str) -> Replay:
    """Replay the NEWEST and the OLDEST open runs of each type, and return what was seen. Raises RPCError."""
    result, told = Replay(), replayer()
    async for run in _sampled(client, task_queue, result.open):
        history = await _history(client, run)
        if history is None:
            continue
        result.replayed[run.workflow_type] += 1
        if why := await why_not_repeated(told, history):
            result.broken.append(Broken(run.id, run.run_id, run.workflow_type, why[:_SAID]))
    return result


async def _sampled(client: Client, task_queue: str, seen: Counter[str]) -> AsyncIterator[WorkflowExecution]:
    """Yield the runs to replay, and count all that are open in `seen`. The server lists the newest first."""
    oldest: dict[str, deque[WorkflowExecution]] = {}
    async for run in client.list_workflows(open_runs(task_queue), rpc_timeout=RPC):
        kind = run.workflow_type
        seen[kind] += 1
        if seen[kind] <= NEWEST:
            yield run
        else:
            oldest.setdefault(kind, deque(maxlen=OLDEST)).append(run)
    for runs in oldest.values():
        for run in runs:
            yield run


async def _history(client: Client, run: WorkflowExecution) -> WorkflowHistory | None:
    """Return the history of the run; None if it has been deleted since it was listed."""
    try:
        return await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history(rpc_timeout=RPC)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
