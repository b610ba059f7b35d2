"""Operators' acts over HTTP: validated, done once, answered honestly."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from runtime.settings import Settings
from tests.api.conftest import NOBODY, begin, booted, is_problem, until
from tests.api.test_bulk import audited
from tests.build import FakeProvider, run, start, trainer
from tests.tokens import bearer


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
    for ending, code, hint in (
        ("completed", None, "completed"),
        ("refused", "COURSE_UNAVAILABLE", "made whole"),
        ("refused", "PAYMENT_NOT_SUCCEEDED", "POST the payment again"),
    ):
        run(engine, "UPDATE purchase_starts SET ending = :e, code = :c, ended_at = now()", e=ending, c=code)
        assert hint in is_problem(await act(api, order.purchase_id, "cancel"), 409, "WRONG_STAGE")["detail"]


async def test_an_unknown_purchase_or_verb_is_404(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    is_problem(await act(api, "purchase:nobody:1", "cancel"), 404, "PURCHASE_NOT_FOUND")
    order = start(engine, paid)
    unknown = is_problem(await act(api, order.purchase_id, "explode"), 404, "UNKNOWN_VERB")
    assert "retry_now, amend" in unknown["detail"]


async def test_without_a_worker_an_act_is_503_and_was_not_stored(api: httpx2.AsyncClient, paid: str) -> None:
    answer = await act(api, await begin(api, paid), "retry_now")
    is_problem(answer, 503, "WORKER_UNAVAILABLE")
    assert "retry-after" in answer.headers


async def test_without_temporal_an_act_is_503(settings: Settings, paid: str, engine: Engine) -> None:
    order = start(engine, paid)
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        is_problem(await act(api, order.purchase_id, "retry_now"), 503, "TEMPORAL_UNAVAILABLE")
