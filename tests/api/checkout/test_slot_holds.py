"""Holding times over HTTP: one's own, for some minutes, ended by a timer, by DELETE, or by becoming the purchase's."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from db.slot_holds import MAX_HOLDS_A_DAY
from runtime.settings import Settings
from tests.api.conftest import NOBODY, begin, booted, end_runs, fresh, is_problem, settings_for, until
from tests.api.http.callers import stored
from tests.build import LESSONS, cart_item, item, pay, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from worker import make_worker

ME, OTHER = bearer("student", "student-1"), bearer("student", "student-2")
HOLDS = "/api/v1/checkout/holds"
HELD = "SELECT count(*) FROM trainer_slots WHERE status = 'held'"


@pytest.fixture
def carts(engine: Engine) -> None:
    """Two students with the same course in their carts, and one trainer."""
    item(engine)
    trainer(engine)
    for number in (1, 2):
        put(engine, number)


def put(engine: Engine, number: int, cart_item_id: str = "", item_id: str = "course-piano", **of: str) -> None:
    named = cart_item_id or f"cart-{number}"
    cart_item(engine, named, student_id=student(engine, f"student-{number}"), item_id=item_id, **of)
    run(
        engine,
        "UPDATE cart_items SET metadata = CAST(:said AS jsonb) WHERE id = :id",
        id=named,
        said=json.dumps(LESSONS),
    )


async def hold(api: httpx2.AsyncClient, cart_item_id: str = "cart-1", who: dict[str, str] = ME) -> httpx2.Response:
    return await api.post(HOLDS, json={"cartItemId": cart_item_id}, headers=who)


async def held(api: httpx2.AsyncClient, cart_item_id: str = "cart-1", who: dict[str, str] = ME) -> dict[str, Any]:
    answer = await hold(api, cart_item_id, who)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{HOLDS}/{answer.json()['id']}"
    return answer.json()


@pytest.mark.usefixtures("carts")
async def test_a_hold_is_the_students_own_until_it_is_let_go(api: httpx2.AsyncClient, engine: Engine) -> None:
    mine = await held(api)
    assert {name: mine[name] for name in mine if name != "id"} == {
        "courseId": "course-piano", "trainer": "trainer-1", "expiresAt": "2026-11-21T12:10:00Z", "lessons": 10,
        "firstLocal": "2026-12-01T18:00", "lastLocal": "2026-12-10T18:00", "timezone": "Europe/London",
    }  # fmt: skip
    assert (await api.get(HOLDS, headers=ME)).json() == {"holds": [mine]}
    assert (await api.get(HOLDS, headers=OTHER)).json() == {"holds": []}
    assert is_problem(await hold(api, "cart-2", OTHER), 409, "NO_TRAINER_AVAILABLE")["retryable"] is True
    looked = (await api.get("/api/v1/checkout/preflight", headers=ME)).json()
    assert looked["lines"][0]["warnings"] == [], "one's own hold is in nobody's own way"

    is_problem(await api.delete(f"{HOLDS}/{mine['id']}", headers=OTHER), 404, "HOLD_NOT_FOUND")
    assert value(engine, HELD) == 10
    assert (await api.delete(f"{HOLDS}/{mine['id']}", headers=ME)).status_code == 204
    is_problem(await api.delete(f"{HOLDS}/{mine['id']}", headers=ME), 404, "HOLD_NOT_FOUND")
    assert value(engine, HELD) == 0
    assert (await held(api, "cart-2", OTHER))["trainer"] == "trainer-1"


@pytest.mark.usefixtures("carts")
async def test_what_cannot_be_held_is_refused_and_nothing_is_stored(api: httpx2.AsyncClient, engine: Engine) -> None:
    item(engine, "physics", item_type="subject", fulfilment="test_cards")
    put(engine, 1, "cart-test", "physics", item_type="subject")
    put(engine, 1, "cart-gone", "course-unknown")
    put(engine, 1, "cart-vague")
    run(engine, "UPDATE cart_items SET metadata = '{}' WHERE id = 'cart-vague'")
    before = stored(engine)
    is_problem(await hold(api, "cart-2"), 404, "CART_ITEM_NOT_FOUND")
    is_problem(await hold(api, "cart-test"), 409, "NOTHING_TO_HOLD")
    is_problem(await hold(api, "cart-gone"), 409, "COURSE_UNAVAILABLE")
    is_problem(await hold(api, "cart-vague"), 409, "METADATA_INCOMPLETE")
    assert stored(engine) == before
    run(engine, "UPDATE students SET latitude = 0, longitude = 0 WHERE id = 'student-1'")
    is_problem(await hold(api), 409, "GPS_INVALID")


@pytest.mark.usefixtures("carts")
async def test_without_temporal_nothing_stays_held(database_url: str, engine: Engine) -> None:
    async with booted(settings_for(database_url, NOBODY, "nobody")) as api:
        is_problem(await hold(api), 503, "TEMPORAL_UNAVAILABLE")
    assert value(engine, HELD) == 0


@pytest.mark.usefixtures("carts")
async def test_the_timer_ends_it_and_a_worker_that_comes_late_too(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> None:
    briefly = settings.with_values(slot_hold=timedelta(seconds=1))
    async with booted(briefly) as api:
        mine = await held(api)
        async with make_worker(temporal, settings, engine, fake_provider):
            timer = temporal.get_workflow_handle(f"hold:{mine['id']}")
            assert await asyncio.wait_for(timer.result(), 60) is True
    assert value(engine, HELD) == 0
    assert value(engine, "SELECT status FROM allocations") == "cancelled"


@pytest.mark.usefixtures("carts", "worker")
async def test_the_purchase_takes_it_over_and_the_timer_leaves_it_alone(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> None:
    async with booted(settings.with_values(slot_hold=timedelta(seconds=5)), fake_provider) as api:
        mine = await held(api)
        purchase = await begin(
            api, pay(engine, fake_provider, fresh(), metadata={**LESSONS, "processingItemId": "cart-1"})
        )
        await until(api, purchase, "completed")
        assert value(engine, "SELECT id FROM allocations WHERE status = 'approved'") == mine["id"]
        told = (await api.get(f"/api/v1/admin/purchases/{purchase}/matching")).json()
        assert told["answer"].startswith("trainer-1 was held by the student before paying and can give all 10 lessons")
        timer = temporal.get_workflow_handle(f"hold:{mine['id']}")
        assert await asyncio.wait_for(timer.result(), 60) is False
    assert value(engine, HELD) == 10
    await end_runs(temporal, settings.task_queue)


@pytest.mark.usefixtures("carts")
async def test_times_are_held_to_pay_and_not_to_keep(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    for _ in range(MAX_HOLDS_A_DAY):
        await held(api)
    is_problem(await hold(api), 409, "HELD_TOO_OFTEN")
    assert value(engine, HELD) == 10  # what was held goes on until it is over
    run(engine, "UPDATE allocations SET created_at = created_at - interval '1 day' WHERE status = 'cancelled'")
    await held(api)


@pytest.mark.usefixtures("carts")
async def test_one_hold_is_of_so_many_lessons_at_most(api: httpx2.AsyncClient, engine: Engine) -> None:
    for count, refused in ((100, False), (101, True)):
        said = LESSONS | {"purchaseTier": None, "sessionCount": count, "scheduleType": "daily"}
        run(engine, "UPDATE cart_items SET metadata = CAST(:said AS jsonb) WHERE id = 'cart-1'", said=json.dumps(said))
        if refused:
            is_problem(await hold(api), 409, "TOO_MANY_LESSONS_TO_HOLD")
        else:
            assert (await held(api))["lessons"] == count


@pytest.mark.usefixtures("carts")
async def test_a_student_holds_three_courses_at_once(api: httpx2.AsyncClient, engine: Engine) -> None:
    courses = ["course-piano", *(f"course-{number}" for number in range(3))]
    trainer(engine, "t-2", courses=tuple(courses))
    for number, course in enumerate(courses[1:]):
        item(engine, course)
        at = LESSONS | {"classTime": f"{10 + 2 * number}:00", "courseId": course}
        cart_item(engine, f"more-{number}", item_id=course)
        run(engine, "UPDATE cart_items SET metadata = CAST(:said AS jsonb) WHERE id = :id",
            id=f"more-{number}", said=json.dumps(at))  # fmt: skip
    await held(api)
    await held(api, "more-0")
    await held(api, "more-1")
    is_problem(await hold(api, "more-2"), 409, "TOO_MANY_HOLDS")
