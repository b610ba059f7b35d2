"""`POST /api/v1/admin/allocations/auto-assign`, as the older system called it (mission row 72)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from tests.api.conftest import begin, is_problem, shown, until
from tests.build import run, trainer, value
from tests.tokens import bearer

DOOR = "/api/v1/admin/allocations/auto-assign"
ASKED = {"studentId": "student-1", "courseId": "course-piano", "timeSlot": "18:00", "date": "2026-12-01"}


async def ask(api: httpx2.AsyncClient, **more: Any) -> httpx2.Response:
    return await api.post(DOOR, json={**ASKED, **more}, headers=bearer("service", "enrollment"))


@pytest.mark.usefixtures("worker")
async def test_the_workflow_that_waits_for_a_trainer_gets_one(
    api: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    workflow = await begin(api, paid)
    await until(api, workflow, "attention")
    is_problem(await ask(api), 409, "NO_TRAINER_AVAILABLE")
    trainer(engine)
    answer = await ask(api)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    seen = await until(api, workflow, "completed")
    assert (told["success"], told["message"]) == (True, "Trainer assigned")
    assert told["data"]["allocationId"] == seen["trainer"]["allocationId"]
    assert (told["data"]["workflowId"], told["data"]["trainerId"]) == (workflow, "trainer-1")
    again = await ask(api)
    assert (again.status_code, again.json()["message"]) == (200, "Trainer already assigned")
    assert again.json()["data"]["allocationId"] == told["data"]["allocationId"]
    acts = (await api.get(f"/api/v1/admin/purchases/{workflow}/acts")).json()["acts"]
    assert [(act["verb"], act["actor"]) for act in acts] == [("retry_now", "enrollment")] * 2


@pytest.mark.usefixtures("worker")
async def test_another_time_becomes_the_purchases_own(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    trainer(engine, hours=("06:00", "12:00"))
    workflow = await begin(api, paid)
    await until(api, workflow, "attention")
    assert (await ask(api, timeSlot="09:00", date="2026-12-07")).status_code == 200
    seen = await until(api, workflow, "completed")
    assert (seen["sessions"]["firstLocal"], seen["item"]["metadataSources"]["timeSlot"]) == (
        "2026-12-07T09:00",
        "admin",
    )


@pytest.mark.usefixtures("worker")
async def test_ten_at_once_assign_one_trainer(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    workflow = await begin(api, paid)
    await until(api, workflow, "attention")
    trainer(engine)
    answers = await asyncio.gather(*(ask(api) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["data"]["allocationId"] for answer in answers}) == 1
    assert value(engine, "SELECT count(*) FROM allocations") == 1


@pytest.mark.usefixtures("paid")
async def test_without_an_active_purchase_it_is_404(api: httpx2.AsyncClient, engine: Engine) -> None:
    is_problem(await ask(api), 404, "NO_ACTIVE_PURCHASE")
    is_problem(await ask(api, studentId="student-9"), 404, "NO_ACTIVE_PURCHASE")
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 0


@pytest.mark.usefixtures("worker")
async def test_at_another_point_it_is_409(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    run(engine, "UPDATE students SET timezone = NULL, latitude = NULL, longitude = NULL")
    workflow = await begin(api, paid)
    await until(api, workflow, "attention")  # waits at the same step, for a profile: asking again does not help
    is_problem(await ask(api), 409, "STUDENT_PROFILE_MISSING")
    skip = {"reason": "r", "requestKey": "k", "step": "assign_trainer"}
    await api.post(f"/api/v1/admin/purchases/{workflow}/skip_step", json=skip)
    await until(api, workflow, "completed")
    body = is_problem(await ask(api), 409, "WRONG_STAGE")
    assert "completed" in body["detail"]
    assert (await shown(api, workflow))["trainer"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeSlot": None}, {"date": None}, {"studentId": None}, {"courseId": 1}, {"trainerId": "trainer-1"},
        {"status": "approved"}, {"date": "2026-12-01T00:00"}, {"actor": "bob"},
    ],
    ids=ascii,
)  # fmt: skip
async def test_a_body_of_another_shape_is_422(api: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    is_problem(await ask(api, **wrong), 422, "INVALID_REQUEST")


@pytest.mark.parametrize("wrong", [{"timeSlot": "six"}, {"date": "soon"}, {"date": "2026-13-01"}], ids=ascii)
async def test_a_time_that_is_none_is_422(api: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    is_problem(await ask(api, **wrong), 422, "METADATA_INCOMPLETE")
