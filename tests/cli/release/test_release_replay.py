"""Which open runs a new build is asked to repeat."""

from __future__ import annotations

from uuid import uuid4

import pytest
from temporalio.client import Client

from cli.release import replay
from cli.release.replay import replay_open_runs
from runtime.temporal import RPC
from tests.waiting import eventually
from workflows.lesson_changes import LessonSweepWorkflow
from workflows.pruning import PruneWorkflow


async def test_the_newest_and_the_oldest_of_each_type_are_replayed(
    temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = f"replaying-'{uuid4()}"  # a name that a query must not stumble over
    ids = [f"{queue}-{number}" for number in range(7)]
    for one in ids:
        await temporal.start_workflow(PruneWorkflow.run, id=one, task_queue=queue)
    await temporal.start_workflow(LessonSweepWorkflow.run, "", id=f"{queue}-sweep", task_queue=queue)
    await temporal.start_workflow(PruneWorkflow.run, id=f"{queue}-elsewhere", task_queue=f"{queue}-other")
    monkeypatch.setattr(replay, "NEWEST", 2)
    monkeypatch.setattr(replay, "OLDEST", 3)
    asked: list[str] = []
    history = replay._history  # pyright: ignore[reportPrivateUsage]

    async def noted(client: Client, run: replay.WorkflowExecution) -> replay.WorkflowHistory | None:
        asked.append(run.id)
        return await history(client, run)

    monkeypatch.setattr(replay, "_history", noted)
    opened = replay.open_runs(queue)
    await eventually(lambda: temporal.count_workflows(opened, rpc_timeout=RPC), lambda seen: seen.count == 8)
    found = await replay_open_runs(temporal, queue)
    assert found.open == {"PruneWorkflow": 7, "LessonSweepWorkflow": 1}
    assert found.replayed == {"PruneWorkflow": 5, "LessonSweepWorkflow": 1}
    assert set(asked) == {*ids[:3], *ids[5:], f"{queue}-sweep"}
    assert found.broken == []  # nothing was done yet, so any code may do it
    for one in [*ids, f"{queue}-sweep", f"{queue}-elsewhere"]:
        await temporal.get_workflow_handle(one).terminate()
