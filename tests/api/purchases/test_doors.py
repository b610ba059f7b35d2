"""All doors of a line arrive at one workflow; what a door does when the student has the item (mission rows 59-62, C4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from tests.api.conftest import begin, fresh, shown, until
from tests.build import LESSONS, NOW, item, pay, rows, student, trainer, value
from tests.events.told import event, raw
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from tests.waiting import eventually

PURCHASES = "/api/v1/purchases"
Door = Callable[[httpx2.AsyncClient, str, str], Awaitable[httpx2.Response]]


async def checkout(api: httpx2.AsyncClient, payment: str, _: str) -> httpx2.Response:
    return await api.post(PURCHASES, json={"paymentId": payment}, headers=bearer("service", "checkout"))


async def direct(api: httpx2.AsyncClient, payment: str, student_id: str) -> httpx2.Response:
    body = {"studentId": student_id, "courseId": "course-piano", "paymentId": payment, "line": 1, "reason": "race"}
    return await api.post(PURCHASES, json=body, headers={"Prefer": "wait=0"})


async def tell(api: httpx2.AsyncClient, payment: str, student_id: str) -> httpx2.Response:
    headers = {**bearer("service", "payments"), "Content-Type": "application/json"}
    told = event(payment, studentId=student_id, metadata={"courseId": "course-piano"})
    return await api.post("/api/v1/events", content=raw(told), headers=headers)


async def asked(door: Door, api: httpx2.AsyncClient, payment: str, student_id: str) -> httpx2.Response:
    """As the documentation says: after a 503 the same request again."""
    while (answer := await door(api, payment, student_id)).status_code == 503:
        assert answer.json()["retryable"], answer.text
    return answer


# Another door of a payment is one entry more: it answers 200 (was there), 201 or 202 (started).
DOORS: dict[str, Door] = {"checkout": checkout, "direct": direct, "event": tell}
CALLERS = 20  # at each door, at once


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
async def test_every_door_at_once_makes_one_purchase_per_payment(
    rounds: int, api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, temporal: Client, task_queue: str
) -> None:
    item(engine, fulfilment="ownership")
    for _ in range(rounds):
        someone = student(engine, f"student-{uuid4()}")
        payment = pay(engine, fake_provider, fresh(), student_id=someone)
        callers = [door for door in DOORS.values() for _ in range(CALLERS)]
        answers = await asyncio.gather(*(asked(door, api, payment, someone) for door in callers))
        assert {answer.status_code for answer in answers} <= {200, 201, 202}, [a.text for a in answers]
        assert sum('"started"' in answer.text for answer in answers) == 1
        await until(api, f"purchase:{payment}:1", "completed")
    for table in ("purchase_starts", "student_course_purchases", "ownerships"):
        assert value(engine, f"SELECT count(*) FROM {table}") == rounds  # noqa: S608 -- names of tables
    assert value(engine, "SELECT count(*) FROM outbox WHERE type = 'PURCHASE_CREATED'") == rounds
    ours = f"TaskQueue = '{task_queue}'"
    await eventually(lambda: temporal.count_workflows(ours), lambda seen: seen.count >= rounds)  # visibility lags
    assert (await temporal.count_workflows(ours)).count == rounds


@pytest.mark.usefixtures("worker")
async def test_twenty_callers_with_one_key_make_one_purchase_without_a_payment(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    student(engine)
    item(engine, fulfilment="ownership")
    headers = {"Idempotency-Key": f"key-{uuid4()}"}
    body = {"studentId": "student-1", "courseId": "course-piano", "reason": "race"}
    answers = await asyncio.gather(*(api.post(PURCHASES, json=body, headers=headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert rows(engine, "SELECT count(*) FROM student_course_purchases") == [(1,)]


# Of the student who has the course by a payment of 10 lessons: what is asked, and what becomes of the old and the new.
# `after`: the payment comes so much later; `tier` is of the new payment.
EXISTING = [
    pytest.param({"same": True}, 200, "active", None, id="the same line"),
    pytest.param({}, 200, "active", None, id="no payment"),
    pytest.param({"supersede": True}, 201, "superseded", "active", id="no payment, superseding"),
    pytest.param({"after": timedelta(hours=1), "tier": 10}, 201, "superseded", "active", id="paid again, later"),
    pytest.param({"after": timedelta(minutes=1), "tier": 20}, 201, "superseded", "active", id="paid for other lessons"),
    pytest.param({"after": timedelta(minutes=1), "tier": 10}, 202, "active", "suspected", id="paid twice in a minute"),
]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("asked", "status", "old", "new"), EXISTING)
async def test_who_has_the_course_already(
    asked: dict[str, Any], status: int, old: str, new: str | None,
    api: httpx2.AsyncClient, paid: str, engine: Engine, fake_provider: FakeProvider,
) -> None:  # fmt: skip
    trainer(engine)
    first = await begin(api, paid)
    await until(api, first, "completed")
    body: dict[str, Any] = {"studentId": "student-1", "courseId": "course-piano", "reason": "asked again"}
    body |= {"metadata": {"startDate": "2026-12-01", "timeSlot": "09:00"}}
    if "after" in asked:
        said = {**LESSONS, "classTime": "09:00", "purchaseTier": asked["tier"]}
        at = NOW + asked["after"]
        body["paymentId"] = pay(engine, fake_provider, fresh(), created_at=at, metadata=said)
    elif "same" in asked:
        body["paymentId"] = paid
    elif "supersede" in asked:
        body["supersede"] = True
    wait = "wait=2" if new == "suspected" else "wait=25"
    answer = await api.post(PURCHASES, json=body, headers={"Idempotency-Key": f"key-{uuid4()}", "Prefer": wait})
    assert answer.status_code == status, answer.text
    answered = answer.json()["data"]["workflowId"]
    assert (answered == first) is (new is None)
    if new == "suspected":
        assert (await until(api, answered, "attention"))["attention"]["reason"] == "DUPLICATE_PAYMENT_SUSPECTED"
    assert (await shown(api, first))["item"]["status"] == old
    expected = {first: old} | ({answered: "active"} if new == "active" else {})
    assert dict(rows(engine, "SELECT workflow_id, status FROM student_course_purchases")) == expected
