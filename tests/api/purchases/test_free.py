"""The free door: a student takes what costs nothing, once (mission row 39)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine

from domain.ids import purchase_id_of
from tests.api.conftest import is_problem, shown, until
from tests.build import item, rows, run, student, value
from tests.subjects import CARDS, subject
from tests.tokens import bearer

DOOR = "/api/public/purchase-free"
COURSE = {"itemType": "course", "itemId": "course-free"}


@pytest.fixture
def me(engine: Engine) -> str:
    """A student no other test knows: workflow ids are shared by all tests. A free course and a free test are there."""
    item(engine, "course-free")
    item(engine, "test-free", item_type="test", fulfilment="ownership")
    run(engine, "UPDATE catalogue_items SET price_minor = 0")
    item(engine)
    return student(engine, f"student-{uuid4()}")


async def take(api: httpx2.AsyncClient, me: str, body: Any = None, wait: int = 25) -> httpx2.Response:
    return await api.post(DOOR, json=body or COURSE, headers={**bearer("student", me), "Prefer": f"wait={wait}"})


def stored(engine: Engine) -> int:
    return value(engine, "SELECT (SELECT count(*) FROM purchase_starts) + (SELECT count(*) FROM purchase_requests)")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("body", [COURSE, {"itemType": "test", "itemId": "test-free"}], ids=["course", "test"])
async def test_gives_ownership_without_lessons(
    api: httpx2.AsyncClient, engine: Engine, me: str, body: dict[str, str]
) -> None:
    answer = await take(api, me, body)
    assert (answer.status_code, answer.json()["message"]) == (201, "Purchase created successfully")
    named = f"purchase:free:{me}:{body['itemType']}:{body['itemId']}"
    assert answer.json()["data"]["workflowId"] == named
    done = await until(api, named, "completed")
    assert (done["origin"], done["item"]["fulfilment"], done["sessions"]["count"]) == ("free", "ownership", 0)
    assert rows(engine, "SELECT student_id, item_id FROM ownerships WHERE revoked_at IS NULL") == [(me, body["itemId"])]
    again = await take(api, me, body)
    assert (again.status_code, again.json()["data"]["id"]) == (200, done["id"])


@pytest.mark.usefixtures("worker")
async def test_a_free_subject_brings_its_cards(api: httpx2.AsyncClient, engine: Engine, me: str) -> None:
    subject(engine, price_minor=0)
    answer = await take(api, me, {"itemType": "subject", "itemId": "physics"})
    assert answer.status_code == 201
    await until(api, answer.json()["data"]["id"], "completed")
    assert value(engine, CARDS) == 50


@pytest.mark.usefixtures("worker")
async def test_twenty_clicks_at_once_are_one_purchase(api: httpx2.AsyncClient, engine: Engine, me: str) -> None:
    answers = await asyncio.gather(*(take(api, me) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert value(engine, "SELECT count(*) FROM student_course_purchases") == 1
    assert stored(engine) == 2


async def test_a_priced_item_is_403_and_an_item_that_cannot_be_had_422(
    api: httpx2.AsyncClient, engine: Engine, me: str
) -> None:
    is_problem(await take(api, me, {"itemType": "course", "itemId": "course-piano"}), 403, "ITEM_NOT_FREE")
    is_problem(await take(api, me, {"itemType": "course", "itemId": "course-9"}), 422, "UNKNOWN_ITEM")
    is_problem(await take(api, me, {"itemType": "test", "itemId": "course-free"}), 422, "UNKNOWN_ITEM")
    run(engine, "UPDATE catalogue_items SET price_minor = 0, open = item_type <> 'course'")
    is_problem(await take(api, me), 422, "COURSE_UNAVAILABLE")
    is_problem(await take(api, f"{me}-nobody"), 404, "STUDENT_NOT_FOUND")
    assert stored(engine) == 0


@pytest.mark.parametrize(
    "injected",
    [
        {"price": 0}, {"priceMinor": 0}, {"amountMinor": 0}, {"status": "active"}, {"role": "admin"},
        {"studentId": "student-2"}, {"metadata": {}}, {"purchaseTier": 30}, {"paymentId": "pay-1"}, {"itemId": None},
        {"itemType": "lesson"}, {"itemId": ""}, {"itemId": "x\0"}, {"itemType": 1},
    ],
    ids=ascii,
)  # fmt: skip
async def test_what_is_not_for_the_student_to_say_is_422_and_nothing_is_stored(
    api: httpx2.AsyncClient, engine: Engine, me: str, injected: dict[str, Any]
) -> None:
    is_problem(await take(api, me, {**COURSE, **injected}), 422, "INVALID_REQUEST")
    assert stored(engine) == 0


@pytest.mark.usefixtures("worker")
async def test_once_it_is_voided_the_next_one_gets_a_number(api: httpx2.AsyncClient, engine: Engine, me: str) -> None:
    first = (await take(api, me)).json()["data"]
    await until(api, first["id"], "completed")
    run(engine, "UPDATE student_course_purchases SET status = 'voided', voided_at = now()")
    second = await take(api, me)
    assert (second.status_code, second.json()["data"]["workflowId"]) == (201, f"{first['workflowId']}:2")
    await until(api, second.json()["data"]["id"], "completed")
    run(engine, "UPDATE student_course_purchases SET expires_on = '2026-11-20'")
    answers = await asyncio.gather(*(take(api, me) for _ in range(10)))
    assert {answer.json()["data"]["workflowId"] for answer in answers} == {f"{first['workflowId']}:3"}
    assert rows(engine, "SELECT status FROM student_course_purchases ORDER BY purchased_at") == [
        ("voided",), ("superseded",), ("active",),
    ]  # fmt: skip


@pytest.mark.usefixtures("worker")
async def test_a_key_is_answered_with_its_purchase_after_that_was_voided(
    api: httpx2.AsyncClient, engine: Engine, me: str
) -> None:
    async def take_it(key: str) -> httpx2.Response:
        return await api.post(DOOR, json=COURSE, headers={**bearer("student", me), "Idempotency-Key": key})

    first = (await take_it("click-1")).json()["data"]["id"]
    await until(api, first, "completed")
    assert (await take_it("click-2")).json()["data"]["id"] == first
    run(engine, "UPDATE student_course_purchases SET status = 'voided', voided_at = now()")
    for key in ("click-1", "click-2"):
        again = await take_it(key)
        assert (again.status_code, again.json()["data"]["id"]) == (200, first)
    assert (await take_it("click-3")).json()["data"]["id"] != first


@pytest.mark.usefixtures("worker")
async def test_who_has_the_item_by_another_door_keeps_that_purchase(
    api: httpx2.AsyncClient, engine: Engine, me: str
) -> None:
    body = {
        "studentId": me, "courseId": "course-free", "reason": "r", "purchaseTier": 10,
        "metadata": {"startDate": "2026-12-01", "timeSlot": "18:00"},
    }  # fmt: skip
    by_hand = await api.post("/api/v1/purchases", json=body, headers={"Idempotency-Key": f"k-{uuid4()}"})
    assert by_hand.status_code == 201
    free = await take(api, me)
    assert (free.status_code, free.json()["data"]["id"]) == (200, by_hand.json()["data"]["id"])
    assert (await shown(api, free.json()["data"]["id"]))["item"]["fulfilment"] == "sessions"


@pytest.mark.usefixtures("worker")
async def test_one_that_the_door_could_not_start_is_started_by_the_next_click(
    api: httpx2.AsyncClient, engine: Engine, me: str
) -> None:
    """The row of a door that met no Temporal: it says nothing of a workflow (spec section 10, rows before workflows)."""
    workflow_id = f"purchase:free:{me}:course:course-free"
    run(
        engine,
        "INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, started_at)"
        " VALUES (:id, :workflow, NULL, 1, :me, 'free', now())",
        id=purchase_id_of(workflow_id), workflow=workflow_id, me=me,
    )  # fmt: skip
    run(
        engine,
        "INSERT INTO purchase_requests (purchase_id, item_type, item_id, actor, requested_at)"
        " SELECT purchase_id, 'course', 'course-free', student_id, now() FROM purchase_starts",
    )
    answer = await take(api, me)
    assert (answer.status_code, answer.json()["data"]["state"]) == (201, "started")
