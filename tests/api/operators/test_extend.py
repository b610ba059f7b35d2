"""Access for longer over HTTP, before its end and after, and how access is shown (mission rows 57, 61, C16)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from domain.ids import expiry_id_of, purchase_id_of
from tests import build
from tests.api.conftest import fresh, is_problem, shown, until
from tests.api.operators.test_verbs import act
from tests.build import LESSONS, item, pay, rows, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from tests.waiting import eventually


async def bought(api: httpx2.AsyncClient, engine: Engine, provider: FakeProvider, last_day: str | None) -> str:
    """A completed purchase with access until this day; its workflow id. Today is 21 November 2026."""
    if value(engine, "SELECT id FROM students") is None:
        student(engine)
        item(engine)
        trainer(engine)
    payment = pay(engine, provider, fresh(), metadata={**LESSONS, "expiryDate": last_day})
    answer = await api.post("/api/v1/purchases", json={"paymentId": payment})
    workflow_id = answer.json()["lines"][0]["workflowId"]
    await until(api, workflow_id, "completed")
    return workflow_id


async def access(api: httpx2.AsyncClient, purchase: str, **like: Any) -> dict[str, Any]:
    """How access stands, once it is like this; the test's timeout bounds the wait."""
    seen = await eventually(lambda: shown(api, purchase), lambda seen: like.items() <= seen["access"].items())
    return seen["access"]


@pytest.mark.usefixtures("worker")
async def test_extends_before_the_end_once_per_key(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    purchase = await bought(api, engine, fake_provider, "2026-12-05")
    assert await access(api, purchase) == {
        "until": "2026-12-05", "endsAt": "2026-12-06T00:00:00Z", "expiredAt": None, "enrolled": True,
        "lessonsAfter": [6, 7, 8, 9, 10],
    }  # fmt: skip
    answers = await asyncio.gather(*(act(api, purchase, "extend", expiryDate="2026-12-09") for _ in range(4)))
    answers.append(await act(api, purchase, "extend", expiryDate="2026-12-09"))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    body = answers[0].json()
    assert (body["verb"], body["actor"], body["done"], body["outcome"]) == (
        "extend", "ann", True, "access lasts until 2026-12-09",
    )  # fmt: skip
    assert [answer.json() for answer in answers] == [body] * 5
    seen = await shown(api, purchase)
    assert (seen["access"]["until"], seen["access"]["lessonsAfter"], seen["remaining"]) == ("2026-12-09", [10], 10)
    assert [each["workflowId"] for each in seen["renewals"]] == [purchase]
    [listed] = (await api.get("/api/v1/admin/purchases")).json()["purchases"]
    assert (listed["expiresOn"], listed["remaining"]) == ("2026-12-09", 10)
    acts = (await api.get(f"/api/v1/admin/purchases/{purchase}/acts")).json()["acts"]
    assert [(act["verb"], act["actor"], act["outcome"]) for act in acts] == [("extend", "ann", body["outcome"])]


@pytest.mark.usefixtures("worker")
async def test_extends_what_has_ended_and_says_no_in_words(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, temporal: Client
) -> None:
    purchase = await bought(api, engine, fake_provider, "2026-12-31")
    run(engine, "UPDATE student_course_purchases SET expires_on = '2026-11-20'")
    run(engine, "UPDATE enrollments SET expires_on = '2026-11-20'")
    await temporal.get_workflow_handle(expiry_id_of(purchase_id_of(purchase))).signal("look_again")
    assert (await access(api, purchase, expiredAt="2026-11-21T12:00:00Z"))["enrolled"] is False
    no = is_problem(await act(api, purchase, "extend", "k0", expiryDate="2026-11-19"), 409, "WRONG_STAGE")
    assert "lasts until 2026-11-20 already" in no["detail"]
    answer = await act(api, purchase, "extend", expiryDate="2026-11-21")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "access lasts until 2026-11-21")
    assert (await access(api, purchase))["enrolled"] is True
    assert (await api.get(f"/api/v1/purchases/{purchase}", headers=bearer("student", "student-1"))).status_code == 200
    assert len(rows(engine, "SELECT FROM operator_acts WHERE verb = 'extend'")) == 2


@pytest.mark.usefixtures("worker")
async def test_an_expiry_date_amended_while_it_is_parked_counts_at_once(
    api: httpx2.AsyncClient, engine: Engine, paid: str
) -> None:
    started = await api.post("/api/v1/purchases", json={"paymentId": paid})
    purchase = started.json()["lines"][0]["workflowId"]
    await until(api, purchase, "attention")  # nobody teaches it; the student has access without an end
    assert (await access(api, purchase))["until"] is None
    is_problem(await act(api, purchase, "extend", "k0", expiryDate="2026-12-31"), 409, "WRONG_STAGE")
    for key, day, expired in (("k1", "2026-11-20", True), ("k2", "2026-12-31", False)):
        assert (await act(api, purchase, "amend", key, changes={"expiryDate": day})).status_code == 200
        seen = await access(api, purchase, until=day, enrolled=not expired)
        while (seen["expiredAt"] is not None) is not expired:
            seen = await access(api, purchase)
    types = [row.type for row in rows(engine, "SELECT type FROM outbox WHERE type LIKE '%EXPIRED' ORDER BY id")]
    assert types == ["PURCHASE_EXPIRED"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, "INVALID_REQUEST"),
        ({"expiryDate": "soon"}, "INVALID_ACT"),
        ({"expiryDate": "2026-02-30"}, "INVALID_ACT"),
        ({"expiryDate": "9999-12-31"}, "INVALID_ACT"),
        ({"expiryDate": "0001-01-01"}, "INVALID_ACT"),
    ],
    ids=["missing", "no date", "no such day", "never", "long ago"],
)
async def test_a_day_that_is_none_is_422(
    api: httpx2.AsyncClient, engine: Engine, more: dict[str, Any], code: str
) -> None:
    order = build.purchase(engine)
    is_problem(await act(api, order.workflow_id, "extend", **more), 422, code)


async def test_what_is_not_there_yet_cannot_be_extended(api: httpx2.AsyncClient, engine: Engine, paid: str) -> None:
    is_problem(await act(api, "purchase:none:1", "extend", expiryDate="2027-01-01"), 404, "PURCHASE_NOT_FOUND")
    started = await api.post("/api/v1/purchases", json={"paymentId": paid})  # no worker: there is no purchase row
    purchase = started.json()["lines"][0]["workflowId"]
    is_problem(await act(api, purchase, "extend", expiryDate="2027-01-01"), 409, "WRONG_STAGE")
