"""Lists find what is stored, whatever characters an id is of: a query never raises, and never finds another one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from application.temporal_client import equals, running_runs
from domain.ids import purchase_id_of
from tests.api.conftest import shown
from tests.api.purchases.test_show_and_list import LIST
from tests.build import run
from tests.waiting import eventually
from workflows.attributes import NEEDS_ATTENTION, STUDENT_ID

TAILS = (
    "o'brien",
    "a''b",
    "'",
    "b'",
    '"',
    'a"b',
    "\\",
    "a\\b",
    "a\\",
    "\\'",
    "' OR 'a' = 'a",
    "a%b_",
    "a`b",
    "auth0|5f7c",
)


async def test_finds_exactly_the_runs_of_a_student_and_exactly_the_row_of_an_id(
    api: httpx2.AsyncClient, temporal: Client, task_queue: str, engine: Engine
) -> None:
    mine = str(uuid4())
    students = {f"{mine}{tail}": f"purchase:manual:{mine}:{tail}" for tail in TAILS} | {
        f"'{mine}": f"purchase:manual:{mine}:first",
        f'"{mine}': f"purchase:manual:{mine}:quoted",
    }
    for student_id, workflow_id in students.items():
        attributes = [SearchAttributePair(STUDENT_ID, student_id), SearchAttributePair(NEEDS_ATTENTION, False)]
        await temporal.start_workflow(
            "PurchaseWorkflow",
            id=workflow_id,
            task_queue=task_queue,
            search_attributes=TypedSearchAttributes(attributes),
        )
        run(engine, "INSERT INTO purchase_starts (purchase_id, workflow_id, line, student_id, origin, attempt, started_at)"
            " VALUES (:id, :workflow_id, 1, :student_id, 'admin', 1, now() - interval '1 day')",
            id=purchase_id_of(workflow_id), workflow_id=workflow_id, student_id=student_id)  # fmt: skip
    for student_id, workflow_id in students.items():
        found = await eventually(lambda of=student_id: running_runs(temporal, equals(STUDENT_ID, of)))
        assert set(found) == {workflow_id}
        assert (await shown(api, purchase_id_of(workflow_id)))["ending"] == "running"
    answer = await api.get(LIST)
    assert answer.status_code == 200, answer.text
    seen: list[dict[str, Any]] = answer.json()["purchases"]
    assert {row["workflowId"]: row["ending"] for row in seen} == dict.fromkeys(students.values(), "running")
    for filters in ({"attention": "any"}, {"ending": "attention"}):
        assert (await api.get(LIST, params=filters)).json()["purchases"] == []
