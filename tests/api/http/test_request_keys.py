"""A request key names one request, at every door that takes one; and what was not answered in time is done once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from domain.ids import purchase_id_of
from runtime.settings import Settings
from tests.api.checkout.test_cart import ME as MY_CART
from tests.api.checkout.test_cart import PIANO, add, cart
from tests.api.conftest import answered, begin, fresh, is_problem, until
from tests.api.lessons.test_lessons import change
from tests.api.mock_tests.test_cards import begin as begin_test
from tests.api.operators.test_auto_assign import ASKED, DOOR
from tests.api.operators.test_extend import bought
from tests.api.operators.test_verbs import act
from tests.build import item, pay, rows, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.subjects import bought_card
from tests.tokens import bearer
from worker import make_worker

KEY = {"Idempotency-Key": "the-same-key"}


async def test_what_was_put_into_the_cart_once_stays_out_when_it_was_taken_out(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    item(engine)
    added = await add(api, key="click-0001")
    assert (added.status_code, len(await cart(api))) == (201, 1)
    await api.delete("/api/v1/cart", headers=MY_CART)
    again = await add(api, key="click-0001")
    assert (again.status_code, again.json(), await cart(api)) == (200, added.json(), [])
    is_problem(await add(api, {**PIANO, "metadata": {}}, key="click-0001"), 409, "KEY_REUSED")


async def test_a_key_starts_one_payment(api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider) -> None:
    student(engine)
    item(engine)
    first, second = (pay(engine, fake_provider, fresh()) for _ in range(2))
    of_item = {"studentId": "student-1", "courseId": "course-piano", "reason": "r", "paymentId": second}

    async def start(body: dict[str, Any], headers: dict[str, str] = KEY) -> httpx2.Response:
        return await api.post("/api/v1/purchases", json=body, headers={**headers, "Prefer": "wait=0"})

    assert (await start({"paymentId": first})).status_code == 202
    assert (await start({"paymentId": first})).status_code == 200
    for body in ({"paymentId": second}, of_item, of_item | {"paymentId": first}):
        is_problem(await start(body), 409, "KEY_REUSED")
    assert rows(engine, "SELECT payment_id FROM purchase_starts") == [(first,)]
    other = {"Idempotency-Key": "another-key"}
    assert (await start(of_item, other)).status_code == 202
    is_problem(await start(of_item | {"reason": "else"}, other), 409, "KEY_REUSED")


async def test_a_key_starts_one_purchase_again(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    first, second = (pay(engine, fake_provider, fresh()) for _ in range(2))
    workflow_ids = [await begin(api, payment) for payment in (first, second)]

    async def start(headers: dict[str, str], **which: str) -> httpx2.Response:
        return await api.post("/api/v1/purchases", json=which, headers=headers)

    assert (await start(KEY, paymentId=first)).status_code == 200
    is_problem(await start(KEY, purchaseId=workflow_ids[1]), 409, "KEY_REUSED")
    other = {"Idempotency-Key": "another-key"}
    assert (await start(other, purchaseId=workflow_ids[0])).status_code == 200
    assert (await start(other, purchaseId=purchase_id_of(workflow_ids[0]))).status_code == 200
    is_problem(await start(other, purchaseId=workflow_ids[1]), 409, "KEY_REUSED")


async def test_a_key_takes_one_free_item(api: httpx2.AsyncClient, engine: Engine, settings: Settings) -> None:
    me = student(engine, f"student-{uuid4()}")
    item(engine, "course-free", price_minor=0)
    item(engine, "test-free", item_type="test", fulfilment="ownership", price_minor=0)
    headers = {**bearer("student", me), **KEY, "Prefer": "wait=0"}

    async def take(item_type: str, item_id: str) -> httpx2.Response:
        body = {"itemType": item_type, "itemId": item_id}
        return await api.post("/api/public/purchase-free", json=body, headers=headers)

    taken, other = await asyncio.gather(take("course", "course-free"), take("test", "test-free"))
    assert sorted((taken.status_code, other.status_code)) == [202, 409]
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 1


async def test_a_key_starts_one_test(api: httpx2.AsyncClient, engine: Engine) -> None:
    bought_card(engine, "card-1")
    run(engine, "INSERT INTO mock_test_attempts SELECT 'card-2', purchase_id, subject_id, 2 FROM mock_test_attempts")
    assert (await begin_test(api, "card-1", "the-same-key")).status_code == 201
    is_problem(await begin_test(api, "card-2", "the-same-key"), 409, "KEY_REUSED")
    assert (await begin_test(api, "card-1", "the-same-key")).status_code == 200
    assert value(engine, "SELECT count(*) FROM test_attempt_sessions") == 1


async def test_a_key_replays_one_choice_of_dead_letters(api: httpx2.AsyncClient) -> None:
    async def replay(**which: Any) -> httpx2.Response:
        body = {"reason": "r", "requestKey": "k", **which}
        return await api.post("/api/v1/admin/dead-letters:replay", json=body)

    assert (await replay(first=1, last=2)).status_code == 200
    assert (await replay(first=1, last=2)).status_code == 200
    is_problem(await replay(first=1, last=3), 409, "KEY_REUSED")
    is_problem(await replay(first=1, last=2, reason="else"), 409, "KEY_REUSED")


@pytest.mark.usefixtures("worker")
async def test_a_key_asks_for_one_trainer_and_may_ask_again(api: httpx2.AsyncClient, engine: Engine, paid: str) -> None:
    workflow = await begin(api, paid)
    await until(api, workflow, "attention")

    async def ask(**other: Any) -> httpx2.Response:
        headers = {**bearer("service", "enrollment"), **KEY}
        return await api.post(DOOR, json={**ASKED, **other}, headers=headers)

    for _ in range(2):  # the second finds its own time in the purchase already
        is_problem(await ask(timeSlot="09:00"), 409, "NO_TRAINER_AVAILABLE")
    is_problem(await ask(timeSlot="10:00"), 409, "KEY_REUSED")
    trainer(engine)
    await act(api, workflow, "retry_now")
    seen = await until(api, workflow, "completed")
    assert seen["item"]["metadata"]["timeSlot"] == "09:00"
    assert (await ask(timeSlot="09:00")).json()["message"] == "Trainer already assigned"
    is_problem(await ask(timeSlot="10:00"), 409, "KEY_REUSED")


@pytest.mark.usefixtures("worker")
async def test_a_key_is_one_act_on_a_purchase_whichever_verb_comes_second(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    purchase = await bought(api, engine, fake_provider, "2026-12-20")
    assert (await act(api, purchase, "extend", "k1", expiryDate="2026-12-24")).status_code == 200
    for other in ({"expiryDate": "2026-12-25"}, {"expiryDate": "2026-12-24", "reason": "else"}):
        is_problem(await act(api, purchase, "extend", "k1", **other), 409, "KEY_REUSED")
    is_problem(
        await change(api, purchase, "3/reschedule", "k1", date="2026-12-22", timeSlot="18:00"), 409, "KEY_REUSED"
    )
    assert (await change(api, purchase, "3/reschedule", "k2", date="2026-12-22", timeSlot="18:00")).status_code == 200
    is_problem(await act(api, purchase, "extend", "k2", expiryDate="2026-12-30"), 409, "KEY_REUSED")
    told = rows(engine, "SELECT request_key, verb FROM operator_acts ORDER BY request_key")
    assert told == [("k1", "extend"), ("k2", "reschedule_lesson")]
    assert str(value(engine, "SELECT expires_on FROM student_course_purchases")) == "2026-12-24"


async def test_what_no_worker_took_up_in_time_is_done_once_when_it_is_sent_again(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, temporal: Client, settings: Settings
) -> None:
    async with make_worker(temporal, settings, engine, fake_provider):
        purchase = await bought(api, engine, fake_provider, "2026-12-20")
    extend = {"verb": "extend", "key": "k1", "expiryDate": "2026-12-24"}
    move = {"what": "3/reschedule", "key": "k2", "date": "2026-12-22", "timeSlot": "18:00"}
    answers = await asyncio.gather(act(api, purchase, **extend), change(api, purchase, **move))
    is_problem(answers[0], 503, "WORKER_UNAVAILABLE")
    assert (answers[1].status_code, answers[1].json()["done"]) == (202, False)
    # Nothing is on record, and the keys are taken nevertheless.
    is_problem(await act(api, purchase, **extend | {"expiryDate": "2026-12-25"}), 409, "KEY_REUSED")
    is_problem(await change(api, purchase, **move | {"date": "2026-12-23"}), 409, "KEY_REUSED")
    assert rows(engine, "SELECT FROM operator_acts") == []
    async with make_worker(temporal, settings, engine, fake_provider):
        for _ in range(2):
            asked = (lambda: act(api, purchase, **extend), lambda: change(api, purchase, **move))
            answers = await asyncio.gather(*map(answered, asked))
            assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    told = rows(engine, "SELECT request_key, verb FROM operator_acts ORDER BY request_key")
    assert told == [("k1", "extend"), ("k2", "reschedule_lesson")]
    kinds = rows(engine, "SELECT type FROM outbox WHERE type IN ('PURCHASE_EXTENDED', 'LESSONS_CHANGED') ORDER BY type")
    assert [row.type for row in kinds] == ["LESSONS_CHANGED", "PURCHASE_EXTENDED"]
