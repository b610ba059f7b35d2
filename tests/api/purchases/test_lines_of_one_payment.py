"""A payment of several lines: each has its own saga, none holds another back or is harmed by its refund (mission row 5)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine

from tests.activities.world import in_force
from tests.api.conftest import fresh, until
from tests.build import LESSONS, cart_item, item, pay, rows, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.subjects import CARDS, bundle, subject
from tests.tokens import bearer

ME = bearer("student", "student-1")
SAID = '{"startDate": "2026-12-01", "timeSlot": "18:00", "purchaseTier": 10, "scheduleType": "daily"}'
COURSE, SUBJECT, BUNDLE = ("course", "course-piano"), ("subject", "physics"), ("bundle", "science")

pytestmark = pytest.mark.usefixtures("worker", "shop")


@pytest.fixture
def shop(engine: Engine) -> None:
    """A course nobody teaches, a subject, and a bundle that holds it."""
    student(engine)
    item(engine)
    subject(engine)
    bundle(engine, "science", ("physics", "biology"))


async def start(api: httpx2.AsyncClient, payment: str) -> list[str]:
    """Start all its lines; their workflow ids."""
    answer = await api.post("/api/v1/purchases", json={"paymentId": payment})
    assert answer.status_code in (200, 202), answer.text
    return [line["workflowId"] for line in answer.json()["lines"]]


async def act(api: httpx2.AsyncClient, purchase: str, verb: str) -> None:
    body = {"reason": "the student asked", "requestKey": f"{verb}-{uuid4()}"}
    answer = await api.post(f"/api/v1/admin/purchases/{purchase}/{verb}", json=body)
    assert answer.status_code in (200, 202), answer.text


def neighbours(engine: Engine, purchases: tuple[str, ...]) -> dict[str, list[Any]]:
    """What is in force through these purchases."""
    ids = {row.id for row in rows(engine, "SELECT id FROM student_course_purchases WHERE workflow_id = ANY(:w)", w=list(purchases))}  # fmt: skip
    return {name: [row for row in found if row[0] in ids] for name, found in in_force(engine).items()}


async def test_a_parked_line_holds_nobody_back_and_each_line_takes_its_own_thing_out_of_the_cart(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    for number, (item_type, item_id) in enumerate((COURSE, SUBJECT, BUNDLE), start=1):
        cart_item(engine, f"cart-{number}", item_type=item_type, item_id=item_id)
    run(engine, "UPDATE cart_items SET metadata = CAST(:said AS jsonb) WHERE item_type = 'course'", said=SAID)
    paid = await api.post("/api/v1/checkout", json={}, headers={**ME, "Idempotency-Key": f"key-{uuid4()}"})
    payment = paid.json()["paymentId"]
    cart_item(engine, "again", item_type="subject", item_id="physics")  # an equal thing that was not bought
    fake_provider.set_status(payment, "succeeded")

    course, alone, in_bundle = await start(api, payment)
    for purchase in (alone, in_bundle):
        await until(api, purchase, "completed")
    assert (await until(api, course, "attention"))["code"] == "NO_TRAINER_AVAILABLE"
    assert [row.id for row in rows(engine, "SELECT id FROM cart_items ORDER BY id")] == ["again", "cart-1"]
    assert value(engine, CARDS) == 50 + 100

    trainer(engine)
    await act(api, course, "retry_now")
    await until(api, course, "completed")
    assert [row.id for row in rows(engine, "SELECT id FROM cart_items")] == ["again"]
    assert (value(engine, "SELECT count(*) FROM sessions"), fake_provider.refunds) == (10, {})
    listed = (await api.get(f"/api/v1/admin/purchases?payment={payment}")).json()["purchases"]
    told = {row["line"]: (row["ending"], row["sessionCount"], row["sessions"], row["testCards"]) for row in listed}
    assert told == {1: ("completed", 10, 10, 0), 2: ("completed", None, 0, 50), 3: ("completed", None, 0, 100)}


async def test_a_line_that_is_given_back_leaves_its_neighbours_as_they_are(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    payment = pay(engine, fake_provider, fresh(), items=(COURSE, SUBJECT, BUNDLE), metadata={})
    course, *others = await start(api, payment)
    for purchase in others:
        await until(api, purchase, "completed")
    assert (await until(api, course, "attention"))["code"] == "METADATA_INCOMPLETE"
    before = neighbours(engine, tuple(others))
    assert (len(before["cards"]), len(before["enrolled"])) == (150, 3)
    await act(api, course, "cancel")
    await until(api, course, "cancelled")
    assert neighbours(engine, tuple(others)) == before
    assert fake_provider.payments[payment].status == "partially_refunded"
    assert [line.refunded_minor for line in fake_provider.payments[payment].lines] == [50000, 0, 0]
    assert await start(api, payment) == [course, *others]
    assert [row.ending for row in rows(engine, "SELECT ending FROM purchase_starts ORDER BY line")] == [
        "cancelled", "completed", "completed",
    ]  # fmt: skip


async def test_lines_that_start_after_a_neighbour_was_given_back_count_as_paid(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    run(engine, "UPDATE catalogue_items SET open = false WHERE item_type = 'course'")
    payment = pay(engine, fake_provider, fresh(), items=(COURSE, SUBJECT, BUNDLE), metadata=LESSONS)
    direct = {"studentId": "student-1", "courseId": "course-piano", "paymentId": payment, "reason": "asked to"}
    await api.post("/api/v1/purchases", json=direct)
    closed = f"purchase:{payment}:1"
    assert (await until(api, closed, "refused"))["code"] == "COURSE_UNAVAILABLE"
    assert fake_provider.payments[payment].status == "partially_refunded"
    _, *others = await start(api, payment)
    for purchase in others:
        await until(api, purchase, "completed")
    assert value(engine, CARDS) == 150
    assert len(fake_provider.refunds) == 1


async def test_a_line_that_hands_gave_back_whole_is_refused_once_however_often_its_payment_is_posted(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    payment = pay(engine, fake_provider, fresh(), items=(SUBJECT, BUNDLE), metadata={})
    fake_provider.by_hand(50_000, payment, line=2)
    _, given_back = await start(api, payment)
    assert (await until(api, given_back, "refused"))["code"] == "PAYMENT_NOT_SUCCEEDED"
    for _ in range(2):
        await start(api, payment)
        assert (await until(api, given_back, "refused"))["code"] == "PAYMENT_NOT_SUCCEEDED"
    assert value(engine, "SELECT attempt FROM purchase_starts WHERE line = 2") == 1
