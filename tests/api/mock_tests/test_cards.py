"""The student's tests over HTTP: the cards they may use, and a test started on one, three times (mission rows 4, 7, 8)."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine

from activities.test_cards import CardActivities
from tests.api.conftest import is_problem
from tests.build import NOW, rows, run, student, value
from tests.subjects import bought, bought_card
from tests.tokens import bearer

ME = bearer("student", "student-1")
USED = "SELECT count(*) FROM test_attempt_sessions"


async def begin(
    api: httpx2.AsyncClient, card: str = "card-1", key: str | None = None, who: dict[str, str] | None = None
) -> httpx2.Response:
    headers = {**(who or ME), "Idempotency-Key": key or f"key-{uuid4()}"}
    return await api.post(f"/api/user/test-cards/{card}/start", headers=headers)


async def mine(api: httpx2.AsyncClient, who: dict[str, str] | None = None) -> list[dict[str, object]]:
    answer = await api.get("/api/user/available-tests", headers=who or ME)
    assert answer.status_code == 200, answer.text
    return answer.json()["tests"]


async def test_lists_the_cards_of_what_was_bought_with_the_field_that_names_the_card(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    order = bought(engine, subjects=("physics", "biology"), enrolled=True)
    bought(engine, "pay-2", student_id="student-2", enrolled=True)
    CardActivities(engine, lambda: NOW).issue_test_cards(order)
    cards = await mine(api)
    numbers = [(card["subjectId"], card["testNumber"]) for card in cards]
    assert numbers == [(subject, number) for subject in ("biology", "physics") for number in range(1, 51)]
    started = (await begin(api, str(cards[0]["test_card_id"]))).json()
    assert (await mine(api))[0] == {
        "test_card_id": cards[0]["test_card_id"], "purchaseId": order.purchase_id, "subjectId": "biology",
        "subject": "biology", "testNumber": 1, "attemptsUsed": 1, "attemptsLeft": 2,
        "testSessionId": started["testSessionId"],
    }  # fmt: skip
    assert await mine(api, bearer("student", "student-2")) == []


async def test_the_same_key_twice_is_the_same_test_session_and_one_attempt(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    bought_card(engine, "card-1")
    first = await begin(api, key="the-same-key")
    assert first.status_code == 201, first.text
    assert first.json() | {"testSessionId": "", "startedAt": ""} == {
        "testSessionId": "", "testCardId": "card-1", "attempt": 1, "state": "in_progress", "startedAt": "",
    }  # fmt: skip
    again = await asyncio.gather(*(begin(api, key='"the-same-key"') for _ in range(5)))
    assert {(answer.status_code, answer.text) for answer in again} == {(200, first.text)}
    assert value(engine, USED) == 1


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.soak)])
async def test_of_four_starts_at_once_three_succeed_and_one_is_told_why(
    rounds: int, api: httpx2.AsyncClient, engine: Engine
) -> None:
    for number in range(rounds):
        card = bought_card(engine, f"card-{number}", payment_id=f"pay-{number}", student_id=f"student-{number}")
        who = bearer("student", f"student-{number}")
        answers = await asyncio.gather(*(begin(api, card, who=who) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409]
        assert sorted(answer.json()["attempt"] for answer in answers if answer.status_code == 201) == [1, 2, 3]
        [refused] = [answer for answer in answers if answer.status_code == 409]
        is_problem(refused, 409, "ATTEMPTS_EXHAUSTED")
    assert value(engine, USED) == 3 * rounds


async def test_a_key_that_started_a_test_answers_it_when_all_attempts_are_used(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    bought_card(engine, "card-1")
    first = [(await begin(api, key=f"try-number-{number}")).json() for number in range(3)]
    is_problem(await begin(api), 409, "ATTEMPTS_EXHAUSTED")
    assert [(await begin(api, key=f"try-number-{number}")).json() for number in range(3)] == first
    assert [card["attemptsLeft"] for card in await mine(api)] == [0]


NO_MORE = {
    "another student's": "UPDATE student_course_purchases SET student_id = 'student-2'",
    "a void card": "UPDATE mock_test_attempts SET voided_at = now()",
    "a void purchase": "UPDATE student_course_purchases SET status = 'voided', voided_at = now()",
    "access that has ended": "UPDATE enrollments SET ended_at = now()",
    "access that has expired": "UPDATE enrollments SET expires_on = '2026-11-20'",
    "no access": "DELETE FROM enrollments",
}


@pytest.mark.parametrize("change", NO_MORE.values(), ids=NO_MORE)
async def test_a_card_that_is_not_the_callers_to_use_is_404_and_not_listed(
    api: httpx2.AsyncClient, engine: Engine, change: str
) -> None:
    bought_card(engine, "card-1")
    student(engine, "student-2")
    run(engine, change)
    is_problem(await begin(api), 404, "TEST_CARD_NOT_FOUND")
    assert (await mine(api), value(engine, USED)) == ([], 0)


async def test_access_by_another_purchase_is_enough_and_its_last_day_counts(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    bought_card(engine, "card-1")
    run(engine, "UPDATE enrollments SET ended_at = now()")
    order = bought(engine, "pay-2", subjects=("physics", "biology"), enrolled=True)
    run(engine, "UPDATE enrollments SET expires_on = '2026-11-21' WHERE purchase_id = :id", id=order.purchase_id)
    assert (await begin(api)).status_code == 201
    assert rows(engine, "SELECT test_card_id, attempt FROM test_attempt_sessions") == [("card-1", 1)]


@pytest.mark.parametrize(("zone", "usable"), [("Pacific/Kiritimati", False), ("Etc/GMT+12", True), (None, True)])
async def test_the_last_day_is_the_students_own(
    zone: str | None, usable: bool, api: httpx2.AsyncClient, engine: Engine
) -> None:
    """It is 2026-11-21 in the middle of UTC's day: on Kiritimati the 22nd has begun."""
    student(engine, timezone=zone)
    bought_card(engine, "card-1")
    run(engine, "UPDATE enrollments SET expires_on = '2026-11-21'")
    assert [card["test_card_id"] for card in await mine(api)] == (["card-1"] if usable else [])
    assert (await begin(api)).status_code == (201 if usable else 404)


async def test_nothing_starts_without_a_good_key(api: httpx2.AsyncClient, engine: Engine) -> None:
    bought_card(engine, "card-1")
    is_problem(await api.post("/api/user/test-cards/card-1/start", headers=ME), 400, "IDEMPOTENCY_KEY_MISSING")
    is_problem(await begin(api, key="short"), 400, "IDEMPOTENCY_KEY_INVALID")
    is_problem(await begin(api, card="no%0Acard"), 422, "INVALID_REQUEST")
    assert value(engine, USED) == 0
