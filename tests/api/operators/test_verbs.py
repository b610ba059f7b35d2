"""Operators' acts over HTTP: validated, done once, answered honestly."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from runtime.settings import Settings
from tests.api.conftest import NOBODY, answered, begin, booted, end_runs, is_problem, until
from tests.api.operators.test_bulk import audited
from tests.build import run, start, trainer
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from worker import make_worker


async def act(
    api: httpx2.AsyncClient, purchase: str, verb: str, key: str = "k1", by: str = "ann", **more: Any
) -> httpx2.Response:
    body = {"reason": "asked for by a test", "requestKey": key, **more}
    return await api.post(f"/api/v1/admin/purchases/{purchase}/{verb}", json=body, headers=bearer(subject=by))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("verb", ["retry_now", "retry-now"])
async def test_retry_now_completes_what_was_mended(
    api: httpx2.AsyncClient, paid: str, engine: Engine, verb: str
) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    trainer(engine)
    answer = await act(api, purchase, verb)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["verb"], body["done"], body["actor"], body["requestKey"]) == ("retry_now", True, "ann", "k1")
    assert body["outcome"]
    await until(api, purchase, "completed")
    assert (await act(api, purchase, verb)).json() == body  # the same key hears the same answer, also after the end


@pytest.mark.usefixtures("worker")
async def test_cancel_gives_the_money_back_once_however_often_it_is_sent(
    api: httpx2.AsyncClient, paid: str, fake_provider: FakeProvider
) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    answers = await asyncio.gather(*(act(api, purchase, "cancel") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    seen = await until(api, purchase, "cancelled")
    assert (seen["code"], seen["refunded"]) == ("CANCELLED", True)
    assert len(fake_provider.refunds) == 1


@pytest.mark.usefixtures("worker")
async def test_who_acts_is_said_by_the_token_and_never_by_the_body(
    api: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    for said in ("ann", "bob", None):
        is_problem(await act(api, purchase, "retry_now", actor=said), 422, "INVALID_REQUEST")
    assert (await act(api, purchase, "retry_now", by="bob@example.test")).json()["actor"] == "bob@example.test"
    assert await audited(engine, 1) == [("k1", "retry_now", "bob@example.test")]


@pytest.mark.usefixtures("worker")
async def test_an_act_on_a_closed_purchase_is_409_and_names_what_can_be_done(
    api: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    trainer(engine)
    purchase = await begin(api, paid)
    await until(api, purchase, "completed")
    number = 0
    while (answer := await act(api, purchase, "cancel", f"k{number}")).status_code != 409:
        assert answer.json()["outcome"] == "completed"  # its run closes a moment after its row
        number += 1
    assert "nothing can be retried or cancelled" in is_problem(answer, 409, "WRONG_STAGE")["detail"]


async def test_an_act_on_a_purchase_that_temporal_forgot_is_409(
    api: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    order = start(engine, paid)
    unstarted = is_problem(await act(api, order.purchase_id, "retry_now"), 409, "WRONG_STAGE")
    assert "POST its payment" in unstarted["detail"]
    for ending, code, refunded, hint in (
        ("completed", None, False, "completed"),
        ("refused", "COURSE_UNAVAILABLE", True, "made whole"),
        ("cancelled", "CANCELLED", False, "no money went back"),
        ("refused", "PAYMENT_NOT_SUCCEEDED", False, "POST the payment again"),
    ):
        said = "ending = :ending, code = :code, refunded = :refunded, ended_at = now()"
        run(engine, f"UPDATE purchase_starts SET {said}", ending=ending, code=code, refunded=refunded)  # noqa: S608 -- words of ours
        assert hint in is_problem(await act(api, order.purchase_id, "cancel"), 409, "WRONG_STAGE")["detail"]


async def test_an_unknown_purchase_or_verb_is_404(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    is_problem(await act(api, "purchase:nobody:1", "cancel"), 404, "PURCHASE_NOT_FOUND")
    order = start(engine, paid)
    unknown = is_problem(await act(api, order.purchase_id, "explode"), 404, "UNKNOWN_VERB")
    assert "retry_now, amend" in unknown["detail"]


async def test_without_a_worker_it_is_not_known_and_the_same_key_tells_or_does_it_once(
    api: httpx2.AsyncClient,
    paid: str,
    engine: Engine,
    temporal: Client,
    settings: Settings,
    fake_provider: FakeProvider,
) -> None:
    async with make_worker(temporal, settings, engine, fake_provider):
        purchase = await begin(api, paid)
        await until(api, purchase, "attention")
    answer = await act(api, purchase, "retry_now")
    problem = is_problem(answer, 503, "WORKER_UNAVAILABLE")
    assert "same key" in problem["detail"]
    assert "not stored" not in problem["detail"]
    assert "retry-after" in answer.headers
    async with make_worker(temporal, settings, engine, fake_provider):
        again = await answered(lambda: act(api, purchase, "retry_now"))
        assert (again.status_code, again.json()["done"]) == (200, True), again.text
        assert [key for key, _, _ in await audited(engine, 1)] == ["k1"]
        assert (await act(api, purchase, "retry_now")).json() == again.json()
    assert len(await audited(engine, 1)) == 1


@pytest.mark.usefixtures("worker")
async def test_a_request_key_names_one_verb_with_one_body(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    assert (await act(api, purchase, "retry_now", "ticket-7")).json()["done"]
    await audited(engine, 1)
    for _ in range(2):  # by the run's memory or by the audit
        is_problem(await act(api, purchase, "cancel", "ticket-7"), 409, "KEY_REUSED")
    assert (await act(api, purchase, "amend", "ticket-8", changes={"timeSlot": "19:00"})).json()["done"]
    await audited(engine, 2)
    is_problem(await act(api, purchase, "amend", "ticket-8", changes={"timeSlot": "20:00"}), 409, "KEY_REUSED")
    assert (await act(api, purchase, "amend", "ticket-8", changes={"timeSlot": "19:00"})).json()["done"]
    assert (await until(api, purchase, "attention"))["code"] == "NO_TRAINER_AVAILABLE"
    assert [(key, verb) for key, verb, _ in await audited(engine, 2)] == [
        ("ticket-7", "retry_now"),
        ("ticket-8", "amend"),
    ]


@pytest.mark.usefixtures("worker")
async def test_what_waits_for_a_second_person_is_withdrawn(
    settings: Settings, paid: str, engine: Engine, temporal: Client
) -> None:
    async with booted(settings.with_values(two_person_limit=1)) as api:
        purchase = await begin(api, paid)
        await until(api, purchase, "attention")
        is_problem(await act(api, purchase, "withdraw", "c"), 409, "WRONG_STAGE")
        held = await act(api, purchase, "cancel", "c")
        assert (held.status_code, held.json()["outcome"]) == (202, "awaiting_second_person")
        for _ in range(2):
            gone = await act(api, purchase, "withdraw", "c", by="bob")
            assert (gone.status_code, gone.json()["outcome"]) == (200, "withdrawn by bob: asked for by a test")
            assert await audited(engine, 1) == [("c", "cancel", "ann")]
        assert (await act(api, purchase, "cancel", "c", by="bob")).json()["outcome"].startswith("withdrawn by bob")
        assert (await until(api, purchase, "attention"))["code"] == "NO_TRAINER_AVAILABLE"
    await end_runs(temporal, settings.task_queue)


async def test_without_temporal_an_act_is_503(settings: Settings, paid: str, engine: Engine) -> None:
    order = start(engine, paid)
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        is_problem(await act(api, order.purchase_id, "retry_now"), 503, "TEMPORAL_UNAVAILABLE")
