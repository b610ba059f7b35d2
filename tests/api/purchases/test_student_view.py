"""What a student is told: the own purchases, in a student's words; no operator's word and no other person's id."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from domain.refusals import REFUSALS
from tests.api.conftest import begin, fresh, until
from tests.api.http.test_who_may_call import EXPECTED
from tests.api.lessons.test_lessons import change
from tests.api.operators.test_verbs import act
from tests.build import LESSONS, cart_item, item, pay, run, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer

ME = bearer("student", "student-1")
THEIRS = [name for name, who in EXPECTED.items() if name.startswith("GET") and who.split()[0] in ("own", "self", "any")]


@pytest.fixture
async def purchases(
    api: httpx2.AsyncClient, worker: None, engine: Engine, fake_provider: FakeProvider, paid: str
) -> dict[str, str]:
    """One that is completed and was changed by staff, one that waits for a trainer, one that was cancelled."""
    item(engine, item_id="course-violin")
    item(engine, item_id="course-flute")
    trainer(engine)
    trainer(engine, "trainer-2", hours=("06:00", "07:00"))
    trainer(engine, "trainer-3", courses=("course-violin",), hours=("06:00", "07:00"))
    run(engine, "UPDATE trainers SET name = 'Ada ' || right(id, 1)")
    completed = await begin(api, paid)
    await until(api, completed, "completed")
    run(engine, "UPDATE trainer_availability SET ends = '22:30'")
    changed = await change(api, completed, "4/substitute", reason="WORDS of an operator", trainerId="trainer-2")
    assert changed.status_code == 200, changed.text
    run(engine, "UPDATE trainer_availability SET ends = '07:00' WHERE trainer_id <> 'trainer-1'")
    run(engine, "INSERT INTO holidays VALUES ('2026-12-05')")
    top_up = {"coins": 5, "reason": "WORDS of an operator", "requestKey": fresh()}
    assert (await api.post("/api/v1/students/student-1/coins", json=top_up)).status_code == 200
    made = {"completed": completed}
    for ending, course in (("attention", "course-violin"), ("cancelled", "course-flute")):
        said = LESSONS | {"courseId": course, "timeSlot": "20:00", "classTime": None}
        payment = pay(engine, fake_provider, fresh(), items=(("course", course),), metadata=said)
        made[ending] = await begin(api, payment)
        await until(api, made[ending], "attention")
        amended = await act(api, made[ending], "amend", changes={"preferredTrainerId": "trainer-2"})
        assert amended.status_code == 200, amended.text
    assert (await act(api, made["cancelled"], "cancel", "k2")).status_code == 200
    await until(api, made["cancelled"], "cancelled")
    cart_item(engine, "cart-1", item_id="course-violin")
    student(engine, "student-2")
    return made


async def asked(api: httpx2.AsyncClient, name: str, purchase: str) -> httpx2.Response:
    path = name.removeprefix("GET ").format(
        purchase=purchase, student_id="me", item_type="course", item_id="course-piano"
    )
    return await api.get(path, headers=ME)


async def test_no_answer_holds_an_operators_words_or_another_persons_id(
    api: httpx2.AsyncClient, purchases: dict[str, str]
) -> None:
    strange = ["trainer-", "student-2", "WORDS", "ann", "workflowId", "purchase:"]
    strange += [text for row in REFUSALS.values() for text in (row.operator, row.next_action) if text != row.student]
    heard = 0
    for name in THEIRS:
        for ending, purchase in purchases.items():
            if ending == "attention" and name.endswith("/events"):
                continue  # it goes on for as long as the purchase does
            answer = await asked(api, name, purchase)
            assert answer.status_code == 200, (name, answer.text)
            assert [text for text in strange if text in answer.text] == [], name
            heard += 1
    assert heard >= 3 * len(THEIRS) - 1


async def test_the_own_purchase_is_told_in_a_students_words(api: httpx2.AsyncClient, purchases: dict[str, str]) -> None:
    seen: dict[str, dict[str, Any]] = {
        ending: (await asked(api, "GET /api/v1/purchases/{purchase}", purchase)).json()
        for ending, purchase in purchases.items()
    }
    assert {ending: view["ending"] for ending, view in seen.items()} == {ending: ending for ending in seen}
    completed, waits, cancelled = seen["completed"], seen["attention"], seen["cancelled"]
    assert (completed["message"], completed["trainer"]) == ("Your purchase is complete.", "Ada 1")
    assert completed["item"]["wanted"]["timeSlot"] == "18:00"
    assert (completed["sessions"]["count"], completed["remaining"]) == (10, 10)
    assert (waits["code"], waits["trainer"]) == ("NO_TRAINER_AVAILABLE", None)
    assert waits["message"] == REFUSALS["NO_TRAINER_AVAILABLE"].student
    assert (cancelled["code"], cancelled["refunded"]) == ("CANCELLED", True)
    lessons = (await asked(api, "GET /api/v1/purchases/{purchase}/lessons", purchases["completed"])).json()["lessons"]
    assert {lesson["number"]: lesson["trainer"] for lesson in lessons} == {
        number: "Ada 2" if number == 4 else "Ada 1" for number in range(1, 11)
    }
    assert [lesson["number"] for lesson in lessons if lesson["closed"]] == [5]


async def test_staff_see_the_same_purchase_as_before(api: httpx2.AsyncClient, purchases: dict[str, str]) -> None:
    for role in ("support", "admin"):
        answer = await api.get(f"/api/v1/purchases/{purchases['completed']}", headers=bearer(role, "sam"))
        assert answer.json()["trainer"]["trainerId"] == "trainer-1"
        assert set(answer.json()["trainer"]["lost"]) == {"trainer-2"}
