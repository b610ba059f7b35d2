"""What somebody typed freely stays in the database: no event, no workflow history, no refusal and no log repeats it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from domain.metadata import CANONICAL, for_others
from tests.api.conftest import fresh, shown
from tests.api.operators.test_verbs import act
from tests.build import LESSONS, item, pay, rows, run, student
from tests.events.told import event, raw
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from tests.waiting import eventually

CANARY = "CANARY +49 171 5551234"
# Each is a source of metadata with something personal in it, at one of the places where people put such things.
TYPED: list[dict[str, Any]] = [
    {"notes": CANARY},
    {"contactEmail": f"{CANARY.split()[0]}@home.example"},
    {"address": {"street": CANARY, "flat": [CANARY]}},
    {CANARY: True},
    {"startDate": CANARY},
    {"startDate": "2026-12-01", "preferredDate": CANARY},
    {"classTime": CANARY},
    {"scheduleType": CANARY},
    {"learningMode": {"say": CANARY}},
    {"sessionDuration": CANARY, "groupSize": [CANARY]},
    {"classTypeId": CANARY, "preferredTrainerId": CANARY, "processingItemId": CANARY, "courseId": CANARY},
    {"expiryDate": f"2027-06-30 {CANARY}", "purchaseTier": CANARY, "sessionCount": CANARY},
]


async def by_checkout(api: httpx2.AsyncClient, payment: str, _: str, __: dict[str, Any]) -> httpx2.Response:
    return await api.post("/api/v1/purchases", json={"paymentId": payment})


async def by_event(api: httpx2.AsyncClient, payment: str, who: str, said: dict[str, Any]) -> httpx2.Response:
    headers = {**bearer("service", "payments"), "Content-Type": "application/json"}
    return await api.post(
        "/api/v1/events", content=raw(event(payment, studentId=who, metadata=LESSONS | said)), headers=headers
    )


async def by_hand(api: httpx2.AsyncClient, _: str, who: str, said: dict[str, Any]) -> httpx2.Response:
    body = {"studentId": who, "courseId": "course-piano", "reason": "asked", "metadata": LESSONS | said}
    headers = {"Idempotency-Key": fresh(), "Prefer": "wait=0"}
    return await api.post("/api/v1/purchases", json=body, headers=headers)


async def workflow_ids(engine: Engine) -> list[str]:
    return [row.workflow_id for row in rows(engine, "SELECT workflow_id FROM purchase_starts")]


async def histories(client: Client, engine: Engine) -> str:
    """All that Temporal keeps of the runs, as bytes that hold inputs and results as they are."""
    kept = [await client.get_workflow_handle(each).fetch_history() for each in await workflow_ids(engine)]
    return b"".join(event.SerializeToString() for history in kept for event in history.events).decode(errors="replace")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("fulfilment", ["sessions", "ownership"])
@pytest.mark.parametrize("door", [by_checkout, by_event, by_hand])
async def test_it_leaves_by_no_door(
    door: Any, fulfilment: str, api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider,
    temporal: Client, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    item(engine, fulfilment=fulfilment)
    answers: list[httpx2.Response] = []
    for number, said in enumerate(TYPED):
        who = student(engine, f"student-{number}")
        payment = pay(engine, fake_provider, fresh(), student_id=who, metadata=LESSONS | said)
        answers.append(await door(api, payment, who, said))
    for purchase in await workflow_ids(engine):
        seen = await no_longer_running(api, purchase)
        if seen["ending"] == "attention":
            answers.append(await act(api, purchase, "amend", changes={"startDate": CANARY, CANARY: 1}))
    assert len(answers) >= len(TYPED)
    events = [str(row) for row in rows(engine, "SELECT key, type, data FROM outbox")]
    assert len(events) >= 3
    for told in [*events, *(answer.text for answer in answers), await histories(temporal, engine), *capfd.readouterr()]:
        assert "CANARY" not in told
    kept = rows(
        engine, "SELECT 1 FROM student_course_purchases WHERE metadata::text || metadata_extras::text LIKE '%CANARY%'"
    )
    assert kept  # nothing that was said is lost


async def no_longer_running(api: httpx2.AsyncClient, purchase: str) -> dict[str, Any]:
    return await eventually(lambda: shown(api, purchase), lambda seen: seen["ending"] != "running")


@pytest.mark.usefixtures("worker")
async def test_a_profile_tells_none_either(
    api: httpx2.AsyncClient, paid: str, engine: Engine, temporal: Client
) -> None:
    run(engine, "UPDATE students SET timezone = :zone", zone=CANARY)
    await api.post("/api/v1/purchases", json={"paymentId": paid})
    [purchase] = await workflow_ids(engine)
    seen = await no_longer_running(api, purchase)
    assert seen["code"] == "STUDENT_PROFILE_MISSING"
    assert "CANARY" not in await histories(temporal, engine)


def test_others_are_told_canonical_fields_of_canonical_form() -> None:
    good = {
        "startDate": "2026-12-01", "timeSlot": "18:00-19:00", "classTypeId": 7, "scheduleType": "daily",
        "purchaseTier": 10, "sessionCount": 10, "sessionDuration": 60, "isSundayOnly": False, "groupSize": 2,
        "learningMode": "home", "preferredTrainerId": "trainer-1", "expiryDate": "2027-06-30",
        "processingItemId": "c3d1", "courseId": "course-piano",
    }  # fmt: skip
    assert set(good) == set(CANONICAL)
    assert for_others({**good, "notes": "call me"}) == good
    assert for_others(dict.fromkeys(CANONICAL, CANARY)) == {}
    assert for_others(dict.fromkeys(CANONICAL)) == {}
