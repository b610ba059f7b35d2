"""Changes of lessons on a real server: tried until done or refused, one purchase in trouble holds up no other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.worker import Replayer, Worker

from domain.lesson_changes import LessonChange
from tests.temporal.record import compact
from workflows.lesson_changes import LessonChangeWorkflow, LessonSweepWorkflow

HISTORIES = Path(__file__).parents[1] / "histories" / "lessons"
WORKFLOWS = [LessonChangeWorkflow, LessonSweepWorkflow]
PAGES = {"": ["p-1", "p-2"], "p-2": ["p-3"], "p-3": []}
CHANGE = LessonChange("p-1", "k-1", "transfer_lessons", "ann", "moved away", {"trainerId": "trainer-2"})


def fakes(calls: Counter[str]) -> list[Callable[..., Any]]:
    """Activities in trouble twice before they do it; the lessons of p-2 are in trouble for ever."""

    def in_trouble(what: str, times: float = 2) -> None:
        calls[what] += 1
        if calls[what] <= times:
            raise ConnectionError("planned trouble")

    @activity.defn(name="change_lessons")
    async def change_lessons(change: LessonChange) -> str:
        in_trouble("change")
        return f"done: {change.values['trainerId']} gives them"

    @activity.defn(name="find_stranded_lessons")
    async def find_stranded_lessons(after: str) -> list[str]:
        in_trouble(f"page {after}", 1)
        return PAGES[after]

    @activity.defn(name="move_stranded_lessons")
    async def move_stranded_lessons(purchase_id: str) -> str:
        in_trouble(purchase_id, float("inf") if purchase_id == "p-2" else 0)
        return "moved"

    return [change_lessons, find_stranded_lessons, move_stranded_lessons]


@pytest.fixture
def calls() -> Counter[str]:
    return Counter()


@pytest_asyncio.fixture(loop_scope="session")
async def queue(temporal: Client, calls: Counter[str]) -> AsyncIterator[str]:
    name = f"lessons-{uuid4()}"
    async with Worker(temporal, task_queue=name, workflows=WORKFLOWS, activities=fakes(calls)):
        yield name


async def test_a_change_is_tried_until_it_is_done(temporal: Client, queue: str, calls: Counter[str]) -> None:
    run = await temporal.start_workflow(LessonChangeWorkflow.run, CHANGE, id=f"change-{uuid4()}", task_queue=queue)
    assert await run.result() == "done: trainer-2 gives them"
    assert calls == {"change": 3}
    await told_as_recorded("change", run)


async def test_a_sweep_looks_at_every_page_and_goes_on_past_one_in_trouble(
    temporal: Client, queue: str, calls: Counter[str]
) -> None:
    run = await temporal.start_workflow(LessonSweepWorkflow.run, "", id=f"sweep-{uuid4()}", task_queue=queue)
    assert await run.result() == 3
    assert calls == {"page ": 2, "page p-2": 2, "page p-3": 2, "p-1": 1, "p-2": 3, "p-3": 1}
    await told_as_recorded("sweep", run)


async def told_as_recorded(name: str, run: WorkflowHandle[Any, Any]) -> None:
    """The history of then is told the same way today. To record it anew: UPDATE_SNAPSHOTS=1."""
    file = HISTORIES / f"{name}.json"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(compact((await run.fetch_history()).to_json()))
    history = WorkflowHistory.from_json(name, file.read_text())
    await Replayer(workflows=WORKFLOWS).replay_workflow(history)
