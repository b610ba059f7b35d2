"""A student's coins over HTTP: topped up once per key, shown with their story, and the purchases they heal (row 69)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from runtime.settings import Settings
from tests.api.conftest import NOBODY, begin, booted, fresh, is_problem, until
from tests.build import NOW, item, pay, rows, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer

GOOD = {"coins": 150, "reason": "bought at the desk", "requestKey": "k1"}
MOVED = "SELECT kind, coins, actor, reason FROM coin_movements WHERE kind <> 'opening'"


async def top_up(api: httpx2.AsyncClient, student_id: str = "student-1", **other: Any) -> httpx2.Response:
    return await api.post(f"/api/v1/students/{student_id}/coins", json={**GOOD, **other})


async def coins_of(api: httpx2.AsyncClient, student_id: str = "student-1") -> dict[str, Any]:
    answer = await api.get(f"/api/v1/students/{student_id}/coins")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.usefixtures("worker")
async def test_a_top_up_completes_the_purchases_of_this_student_that_waited(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    item(engine)
    waiting: dict[str, str] = {}
    for number in (1, 2):
        student(engine, f"student-{number}", coins=100)
        trainer(engine, f"trainer-{number}")
        payment = pay(engine, fake_provider, fresh(), student_id=f"student-{number}", coins=250)
        waiting[f"student-{number}"] = await begin(api, payment)
    for purchase in waiting.values():
        seen = await until(api, purchase, "attention")
        assert (seen["code"], seen["stage"]) == ("COINS_INSUFFICIENT", "redeem_coins")
        assert seen["attention"]["message"] == "the line costs 250 coins, the student has 100"
    case = (await api.get(f"/api/v1/admin/purchases/{waiting['student-1']}/case")).json()
    assert case["money"]["coins"] == 250
    assert (await top_up(api)).json() == {"studentId": "student-1", "balance": 250}
    await until(api, waiting["student-1"], "completed")
    assert (await until(api, waiting["student-2"], "attention"))["code"] == "COINS_INSUFFICIENT"
    seen = await coins_of(api)
    assert seen["balance"] == 0
    assert {(moved["kind"], moved["coins"], moved["purchaseId"]) for moved in seen["movements"]} == {
        ("redemption", -250, case["id"]), ("top_up", 150, None), ("opening", 100, None),
    }  # fmt: skip


async def test_the_last_movement_is_shown_first(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    for day in (2, 3, 1):
        run(
            engine,
            "INSERT INTO coin_movements (key, student_id, kind, coins, actor, reason, moved_at)"
            " VALUES (:key, 'student-1', 'top_up', :day, 'ann', 'bought at the desk', :now)",
            key=f"key-{day}", day=day, now=NOW + timedelta(days=day),
        )  # fmt: skip
    assert [moved["coins"] for moved in (await coins_of(api))["movements"]] == [3, 2, 1]


async def test_a_top_up_happens_once_per_key_however_often_it_is_sent(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine, coins=100)
    answers = await asyncio.gather(*(top_up(api) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert [answer.json()["balance"] for answer in answers] == [250] * 8
    assert rows(engine, MOVED) == [("top_up", 150, "ann", "bought at the desk")]
    assert (await top_up(api, requestKey="k2")).json()["balance"] == 400


async def test_the_same_key_is_another_top_up_for_another_student(api: httpx2.AsyncClient, engine: Engine) -> None:
    for number in (1, 2):
        student(engine, f"student-{number}")
        assert (await top_up(api, f"student-{number}")).json()["balance"] == 150


async def test_a_key_used_for_another_top_up_is_409_and_adds_nothing(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    await top_up(api)
    is_problem(await top_up(api, coins=151), 409, "KEY_REUSED")
    is_problem(await top_up(api, reason="found in the garden"), 409, "KEY_REUSED")
    assert value(engine, "SELECT coins FROM coin_balances") == 150


@pytest.mark.parametrize(
    "wrong",
    [
        {"coins": 0}, {"coins": -5}, {"coins": 1_000_000_001}, {"coins": 1.5}, {"coins": "150"}, {"coins": True},
        {"coins": None}, {"reason": ""}, {"reason": " "}, {"requestKey": ""}, {"requestKey": None}, {"requestKey": "a\u0000"},
        {"actor": "ann"}, {"x": 1},
    ],
    ids=ascii,
)  # fmt: skip
async def test_a_top_up_that_cannot_be_is_422(api: httpx2.AsyncClient, engine: Engine, wrong: dict[str, Any]) -> None:
    student(engine)
    is_problem(await top_up(api, **wrong), 422, "INVALID_REQUEST")
    assert rows(engine, MOVED) == []


async def test_nobody_has_no_coins(api: httpx2.AsyncClient, engine: Engine) -> None:
    is_problem(await top_up(api, "nobody"), 404, "STUDENT_NOT_FOUND")
    is_problem(await api.get("/api/v1/students/nobody/coins"), 404, "STUDENT_NOT_FOUND")
    student(engine)
    assert await coins_of(api) == {"studentId": "student-1", "balance": 0, "movements": []}


async def test_a_student_sees_own_coins_and_not_who_gave_them_and_why(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    await top_up(api)
    [told] = (await coins_of(api))["movements"]
    assert (told["actor"], told["reason"]) == ("ann", "bought at the desk")
    answer = await api.get("/api/v1/students/student-1/coins", headers=bearer("student", "student-1"))
    [seen] = answer.json()["movements"]
    assert seen == told | {"actor": None, "reason": None}


async def test_a_top_up_is_stored_although_temporal_is_away(settings: Settings, engine: Engine) -> None:
    student(engine)
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        assert (await top_up(api)).json()["balance"] == 150
    assert value(engine, "SELECT coins FROM coin_balances") == 150
