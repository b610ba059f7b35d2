"""What would wait after it is paid is said before, by the rules of the steps, and nothing is held (mission row C14)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from domain.refusals import REFUSALS
from tests.api.conftest import until
from tests.api.http.callers import stored
from tests.build import LESSONS, NOW, cart_item, item, purchase, run, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer

ME = bearer("student", "student-1")


@pytest.fixture
def cart(engine: Engine) -> None:
    """A student who may buy a course of ten lessons, which one trainer teaches."""
    student(engine)
    item(engine)
    trainer(engine)
    put(engine, "cart-1")


def put(
    engine: Engine, cart_item_id: str, item_id: str = "course-piano", item_type: str = "course", **said: Any
) -> None:
    cart_item(engine, cart_item_id, item_id=item_id, item_type=item_type)
    run(engine, "UPDATE cart_items SET metadata = CAST(:said AS jsonb) WHERE id = :id",
        id=cart_item_id, said=json.dumps({**LESSONS, **said}))  # fmt: skip


async def look(api: httpx2.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await api.get("/api/v1/checkout/preflight", params=query, headers=ME)
    assert answer.status_code == 200, answer.text
    for said in (warning for line in [*answer.json()["lines"], answer.json()] for warning in line["warnings"]):
        assert said["message"] == REFUSALS[said["code"]].student
        assert said["detail"]
    return answer.json()


async def codes(api: httpx2.AsyncClient) -> list[list[str]]:
    return [[warning["code"] for warning in line["warnings"]] for line in (await look(api))["lines"]]


@pytest.mark.usefixtures("cart")
async def test_a_cart_that_will_become_lessons_has_no_warning_and_nothing_is_stored(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    item(engine, "physics", item_type="subject", fulfilment="test_cards")
    put(engine, "cart-2", "physics", "subject", startDate=None)
    before = stored(engine)
    seen = await look(api)
    assert [(line["cartItemId"], line["owned"], line["warnings"]) for line in seen["lines"]] == [
        ("cart-1", False, []),
        ("cart-2", False, []),
    ]
    assert seen["warnings"] == []
    assert stored(engine) == before
    assert fake_provider.calls == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE students SET timezone = NULL", ["STUDENT_PROFILE_MISSING"]),
        ("UPDATE students SET timezone = 'Europe/Atlantis'", ["STUDENT_PROFILE_MISSING"]),
        ("UPDATE students SET latitude = 0, longitude = 0", ["GPS_INVALID"]),
        ("UPDATE students SET longitude = NULL", ["GPS_INVALID"]),
        ("UPDATE cart_items SET metadata = metadata - 'classTime'", ["METADATA_INCOMPLETE"]),
        ('UPDATE cart_items SET metadata = metadata || \'{"startDate": "soon"}\'', ["METADATA_INCOMPLETE"]),
        (
            "UPDATE students SET timezone = NULL; UPDATE cart_items SET metadata = '{}'",
            ["METADATA_INCOMPLETE", "STUDENT_PROFILE_MISSING"],
        ),
        ("DELETE FROM trainer_courses", ["NO_TRAINER_AVAILABLE"]),
        ("INSERT INTO trainer_blocked_days VALUES ('trainer-1', '2026-12-10')", ["NO_TRAINER_AVAILABLE"]),
        ("INSERT INTO trainer_blocked_days VALUES ('trainer-1', '2026-12-11')", []),
        (
            'UPDATE cart_items SET metadata = metadata || \'{"learningMode": "home"}\';'
            "UPDATE trainers SET latitude = 40",
            ["NO_TRAINER_AVAILABLE"],
        ),
        ("UPDATE catalogue_items SET open = false", ["COURSE_UNAVAILABLE"]),
        ("UPDATE cart_items SET item_id = 'course-gone'", ["UNKNOWN_ITEM"]),
    ],
)
@pytest.mark.usefixtures("cart")
async def test_says_what_would_park_it(
    change: str, expected: list[str], api: httpx2.AsyncClient, engine: Engine
) -> None:
    for statement in change.split(";"):
        run(engine, statement.replace(":", "\\:"))
    assert await codes(api) == [expected]


@pytest.mark.usefixtures("cart")
async def test_two_courses_of_one_cart_at_the_same_time_are_a_conflict(api: httpx2.AsyncClient, engine: Engine) -> None:
    put(engine, "cart-2", classTime="18:30")
    put(engine, "cart-3", classTime="19:00")
    assert await codes(api) == [[], ["SCHEDULE_CONFLICT"], []]


async def test_a_student_nobody_knows_has_an_empty_cart_and_no_coins(api: httpx2.AsyncClient) -> None:
    assert await look(api) == {"lines": [], "warnings": []}
    assert [said["code"] for said in (await look(api, coins="1"))["warnings"]] == ["COINS_INSUFFICIENT"]


@pytest.mark.usefixtures("cart")
async def test_coins_are_short_only_when_more_are_asked_for_than_there_are(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    run(engine, "INSERT INTO coin_balances VALUES ('student-1', 5)")
    assert (await look(api, coins="5"))["warnings"] == []
    assert [said["code"] for said in (await look(api, coins="6"))["warnings"]] == ["COINS_INSUFFICIENT"]


@pytest.mark.usefixtures("cart")
async def test_what_was_bought_minutes_ago_is_suspect_and_what_was_bought_before_is_a_renewal(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    purchase(engine, session_count=10)
    noon = NOW + timedelta(hours=2)  # of the fixed day: what the API takes for now
    for minutes, expected in ((9, ["DUPLICATE_PAYMENT_SUSPECTED"]), (11, [])):
        run(engine, "UPDATE payments SET created_at = :at", at=noon - timedelta(minutes=minutes))
        (line,) = (await look(api))["lines"]
        assert line["owned"] is True
        assert [said["code"] for said in line["warnings"]] == expected


@pytest.mark.usefixtures("worker", "cart")
async def test_it_says_what_the_purchase_then_does(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    run(engine, "INSERT INTO trainer_blocked_days VALUES ('trainer-1', '2026-12-10')")
    assert await codes(api) == [["NO_TRAINER_AVAILABLE"]]
    run(engine, "DELETE FROM trainer_blocked_days")
    assert await codes(api) == [[]]
    bought = await api.post("/api/v1/checkout", json={}, headers={**ME, "Idempotency-Key": "checkout-1"})
    payment = bought.json()["paymentId"]
    fake_provider.set_status(payment, "succeeded")
    (line,) = (await api.post("/api/v1/purchases", json={"paymentId": payment})).json()["lines"]
    await until(api, line["id"], "completed")
    put(engine, "cart-2", classTime="18:59", purchaseTier=20)
    assert await codes(api) == [["SCHEDULE_CONFLICT"]]


@pytest.mark.usefixtures("cart")
async def test_of_a_cart_of_very_many_lessons_some_times_are_not_looked_at(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    run(engine, "DELETE FROM trainer_courses")
    for number, count in enumerate((900, 300, 200), start=2):
        put(engine, f"cart-{number}", purchaseTier=None, sessionCount=count)
    seen = [(line["lookedAt"], [each["code"] for each in line["warnings"]]) for line in (await look(api))["lines"]]
    assert seen == [
        (True, ["NO_TRAINER_AVAILABLE"]), (True, ["SCHEDULE_CONFLICT"]), (False, []), (False, []),
    ]  # fmt: skip
