"""Tests of the older system beside test cards: told apart by `test_card_id`, opened at their own paths (rows 6, 7)."""

from __future__ import annotations

import asyncio
from itertools import product

import httpx2
from sqlalchemy import Engine

from activities.test_cards import CardActivities
from tests.api.conftest import is_problem
from tests.build import NOW, rows, run, student, value
from tests.subjects import bought, bought_card, old_attempt
from tests.tokens import bearer

ME, OTHER = bearer("student", "student-1"), bearer("student", "student-2")
START, GENERATE = "/api/user/start-test", "/api/user/generate-test-questions"
OLD = {"attemptId": "attempt-1", "subjectId": "physics", "title": "Physics, first term"}


async def ask(
    api: httpx2.AsyncClient, path: str, attempt: object = "attempt-1", who: dict[str, str] = ME
) -> httpx2.Response:
    return await api.post(path, json={"attemptId": attempt}, headers=who)


async def listed(api: httpx2.AsyncClient, who: dict[str, str] = ME) -> list[dict[str, object]]:
    answer = await api.get("/api/user/available-tests", headers=who)
    assert answer.status_code == 200, answer.text
    return answer.json()["tests"]


async def test_test_card_id_is_there_or_not_and_says_which_route_a_test_takes(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    """Both kinds of row, each started at the route its shape points to; a null in place of no field would mislead."""
    bought_card(engine, "card-1")
    old_attempt(engine)
    old_attempt(engine, "attempt-2", student_id="student-2")
    card, old = await listed(api)
    assert card["test_card_id"] == "card-1"
    assert old == {**OLD, "state": "not_started", "startedAt": None}
    new_route = f"/api/user/test-cards/{card['test_card_id']}/start"
    started = await api.post(new_route, headers={**ME, "Idempotency-Key": "the-first-try"})
    assert started.status_code == 201, started.text
    opened = await ask(api, START, old["attemptId"])
    assert opened.status_code == 200, opened.text
    card, old = await listed(api)
    assert card["testSessionId"] == started.json()["testSessionId"]
    assert old == opened.json()


async def test_an_old_attempt_is_opened_once_however_often_it_is_asked_for(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    old_attempt(engine)
    first, *again = [answer.json() for answer in await asyncio.gather(*(ask(api, START) for _ in range(5)))]
    assert first == {**OLD, "state": "in_progress", "startedAt": first["startedAt"]}
    assert first["startedAt"].startswith("20")
    assert again == [first] * 4
    before = rows(engine, "SELECT started_at, xmin FROM test_attempts")
    assert (await ask(api, START)).json() == first
    assert rows(engine, "SELECT started_at, xmin FROM test_attempts") == before


async def test_an_attempt_that_was_begun_or_ended_elsewhere_keeps_its_time_and_its_end(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    stands = {"not_started": "in_progress", "in_progress": "in_progress", "completed": "completed"}
    for state in stands:
        old_attempt(engine, state, state=state)
    run(engine, "UPDATE test_attempts SET started_at = '2024-03-01T10:00:00Z'")
    for attempt, state in stands.items():
        opened = (await ask(api, START, attempt)).json()
        assert opened == {**OLD, "attemptId": attempt, "state": state, "startedAt": "2024-03-01T10:00:00Z"}


async def test_the_stored_questions_are_answered_as_they_are(api: httpx2.AsyncClient, engine: Engine) -> None:
    old_attempt(engine, questions='[{"q": "2 + 2?", "options": [3, 4]}, "And now?"]')
    answer = await ask(api, GENERATE)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"attemptId": "attempt-1", "questions": [{"q": "2 + 2?", "options": [3, 4]}, "And now?"]}
    assert value(engine, "SELECT state FROM test_attempts") == "not_started"


async def test_without_a_list_of_questions_nothing_is_used_up_and_asking_again_does_not_help(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    for number, stored in enumerate((None, "[]", "null", '{"q": 1}', '"[1]"')):
        refused = is_problem(
            await ask(api, GENERATE, old_attempt(engine, f"a-{number}", questions=stored)), 409, "CONTENT_MISSING"
        )
        assert (refused["retryable"], refused["detail"]) == (False, "This test is not ready yet."), stored
    assert rows(engine, "SELECT DISTINCT state, started_at FROM test_attempts") == [("not_started", None)]


async def test_another_students_attempt_is_404_and_stays_as_it_is(api: httpx2.AsyncClient, engine: Engine) -> None:
    old_attempt(engine, questions="[1]")
    for path, attempt, who in product((START, GENERATE), ("attempt-1", "attempt-9"), (OTHER, ME)):
        if (attempt, who) != ("attempt-1", ME):
            is_problem(await ask(api, path, attempt, who), 404, "TEST_ATTEMPT_NOT_FOUND")
    assert await listed(api, OTHER) == []
    assert rows(engine, "SELECT state, started_at FROM test_attempts") == [("not_started", None)]


async def test_what_is_no_attempt_id_is_422(api: httpx2.AsyncClient, engine: Engine) -> None:
    old_attempt(engine)
    wrong: list[object] = [None, 1, "", "no\nid", "a\u0000", ["attempt-1"], "a" * 201]
    for path, attempt in product((START, GENERATE), wrong):
        is_problem(await ask(api, path, attempt), 422, "INVALID_REQUEST")
    assert value(engine, "SELECT state FROM test_attempts") == "not_started"


async def test_a_table_that_came_with_numbers_for_ids_is_answered(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    old_attempt(engine, "17", student_id="9")
    run(engine, "ALTER TABLE test_attempts ALTER id TYPE bigint USING id::bigint")
    run(engine, "ALTER TABLE test_attempts ALTER student_id TYPE integer USING student_id::integer")
    run(engine, "ALTER TABLE test_attempts ALTER questions TYPE json, ALTER title DROP NOT NULL")
    run(engine, """UPDATE test_attempts SET title = NULL, questions = '["2 + 2?"]'""")
    nine = bearer("student", "9")
    assert [test["attemptId"] for test in await listed(api, nine)] == ["17"]
    assert await listed(api) == []
    assert (await ask(api, START, "17", nine)).json()["state"] == "in_progress"
    assert (await ask(api, GENERATE, "17", nine)).json()["questions"] == ["2 + 2?"]
    for attempt, who in (("attempt-1", nine), ("17", ME)):
        is_problem(await ask(api, START, attempt, who), 404, "TEST_ATTEMPT_NOT_FOUND")


def test_cards_come_and_go_without_the_older_table(engine: Engine) -> None:
    """What a step does needs no table of the older system: there is none."""
    run(engine, "DROP TABLE test_attempts")
    order = bought(engine, enrolled=True)
    cards = CardActivities(engine, lambda: NOW)
    cards.issue_test_cards(order)
    assert value(engine, "SELECT count(*) FROM mock_test_attempts WHERE voided_at IS NULL") == 50
    assert cards.void_test_cards(order).changed
