"""One idea of a student's id at every door: who can check out and pay can do all the rest, too (spec section 11)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from tests.api.conftest import is_problem, shown, until
from tests.build import item, run, student, trainer, value
from tests.events.told import event
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer

ODD = ["auth0|5f7c12ab", "a/b c%2F{}?#", "~!$&()*,;=<>[]^`", "x:y@example.com", "m" * 128]
QUOTED = ["o'neil@example.com", 'say "hi" \\ back', "x' OR 'x' = 'x"]
PROFILE = {"timezone": "Europe/London", "latitude": 51.5, "longitude": -0.12}
WANTED = {"startDate": "2026-12-01", "timeSlot": "18:00", "purchaseTier": 10, "scheduleType": "daily"}


def of(me: str, what: str) -> str:
    return f"/api/v1/students/{quote(me, safe='')}/{what}"


async def paid_by(api: httpx2.AsyncClient, fake_provider: FakeProvider, me: str) -> str:
    """A piano course through cart and checkout, paid."""
    headers = {**bearer("student", me), "Idempotency-Key": f"key-{uuid4()}"}
    body = {"itemType": "course", "itemId": "course-piano", "metadata": WANTED}
    assert (await api.post("/api/v1/cart/items", json=body, headers=headers)).status_code == 201
    answer = await api.post("/api/v1/checkout", json={}, headers=headers)
    assert answer.status_code == 201, answer.text
    payment = answer.json()["paymentId"]
    fake_provider.set_status(payment, "succeeded")
    return payment


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("me", [*ODD, *QUOTED])
async def test_a_purchase_from_the_cart_to_the_calendar(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, me: str
) -> None:
    item(engine)
    trainer(engine)
    mine = bearer("student", me)
    payment = await paid_by(api, fake_provider, me)
    taken = await api.post("/api/v1/events", json=event(payment, student_id=me))
    assert taken.status_code in (200, 202), taken.text
    purchase = f"purchase:{payment}:1"
    assert (await until(api, purchase, "attention"))["code"] == "STUDENT_PROFILE_MISSING"
    for filters in ({"student": me}, {"student": me, "attention": "any"}):
        found = await api.get("/api/v1/admin/purchases", params=filters)
        assert [row["workflowId"] for row in found.json()["purchases"]] == [purchase], found.text
    stored = await api.put(of(me, "profile"), json=PROFILE, headers=mine)
    assert (stored.status_code, stored.json()["studentId"]) == (200, me)
    done = await until(api, purchase, "completed")
    assert (done["studentId"], done["sessions"]["count"]) == (me, 10)
    topped_up = await api.post(of(me, "coins"), json={"coins": 5, "reason": "a gift", "requestKey": "k:1"})
    assert topped_up.json() == {"studentId": me, "balance": 5}
    for path in (of(me, "coins"), "/api/v1/students/me/coins"):
        assert (await api.get(path, headers=mine)).json()["balance"] == 5
    for path in (of(me, "lessons.ics"), "/api/v1/students/me/lessons.ics"):
        calendar = await api.get(path, headers=mine)
        assert calendar.text.count("BEGIN:VEVENT") == 10
    assert (await api.get(of(me, "coins"), headers=bearer("student", "another"))).status_code == 404
    assert (await api.get(f"/api/v1/purchases/{purchase}", headers=mine)).json()["studentId"] == me


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("me", ["a/b c%2F{}?#", *QUOTED])
async def test_a_gift_and_a_free_item_are_found_by_their_workflow_ids(
    api: httpx2.AsyncClient, engine: Engine, me: str
) -> None:
    me = f"{me}{uuid4()}"  # workflow ids are shared by all tests
    student(engine, me)
    item(engine, "free/it's", item_type="test", fulfilment="ownership", price_minor=0)
    free = await api.post(
        "/api/public/purchase-free",
        json={"itemType": "test", "itemId": "free/it's"},
        headers=bearer("student", me),
    )
    assert free.status_code == 201, free.text
    named: str = free.json()["data"]["workflowId"]
    assert named == f"purchase:free:{me}:test:free/it's"
    for who in (bearer("student", me), bearer("support", "sue")):
        seen = await api.get(f"/api/v1/purchases/{quote(named, safe='')}", headers=who)
        assert (seen.status_code, seen.json()["studentId"]) == (200, me), seen.text
    for what in ("case", "acts"):
        assert (await api.get(f"/api/v1/admin/purchases/{quote(named, safe='')}/{what}")).status_code == 200
    body: dict[str, Any] = {
        "studentId": me,
        "itemType": "test",
        "itemId": "free/it's",
        "reason": "r",
        "supersede": True,
    }
    given = await api.post("/api/v1/purchases", json=body, headers={"Idempotency-Key": f"k:{uuid4()}"})
    assert given.status_code in (201, 202), given.text
    assert (await shown(api, quote(given.json()["data"]["workflowId"], safe="")))["studentId"] == me
    assert (await api.get("/api/v1/catalogue/test/free%2Fit's")).json()["id"] == "free/it's"


@pytest.mark.parametrize(
    "wrong", ["", " ", "a ", "%20a", "a%0A", "a%00", "%C3%A9", "x" * 129, "%EF%BC%91", "a%2F"], ids=ascii
)
async def test_what_no_student_is_called_is_refused_in_paths(
    api: httpx2.AsyncClient, engine: Engine, wrong: str
) -> None:
    student(engine, "a")
    answer = await api.get(f"/api/v1/students/{wrong}/coins")
    if wrong in ("", "a%2F"):
        assert answer.status_code == 404
    else:
        is_problem(answer, 422, "INVALID_REQUEST")


@pytest.mark.parametrize("wrong", ["", " ", " a", "a\n", "é", "x" * 129, "me"], ids=ascii)
async def test_and_at_the_other_doors(api: httpx2.AsyncClient, engine: Engine, wrong: str) -> None:
    said = event("pay-1", student_id=wrong)
    is_problem(await api.post("/api/v1/events", json=said), 422, "INVALID_REQUEST")
    gift = {"studentId": wrong, "courseId": "course-piano", "reason": "why"}
    is_problem(await api.post("/api/v1/purchases", json=gift), 422, "INVALID_REQUEST")
    asked = {"studentId": wrong, "courseId": "c", "timeSlot": "18:00", "date": "2026-12-01"}
    is_problem(await api.post("/api/v1/admin/allocations/auto-assign", json=asked), 422, "INVALID_REQUEST")
    query = {"student": wrong}
    is_problem(await api.get("/api/v1/admin/purchases", params=query), 422, "INVALID_REQUEST")
    bulk = {"verb": "retry_now", "filter": query, "reason": "why", "requestKey": "k"}
    is_problem(await api.post("/api/v1/admin/purchases:bulk", json=bulk), 422, "INVALID_REQUEST")
    is_problem(await api.get("/api/v1/cart", headers=bearer("student", wrong)), 401, "UNAUTHENTICATED")
    with pytest.raises(IntegrityError, match="student_id_shape"):
        student(engine, wrong)


async def test_me_is_the_caller_and_nobody_else(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine, "ann")
    mine = bearer("student", "ann")
    assert (await api.put("/api/v1/students/me/profile", json=PROFILE, headers=mine)).json()["studentId"] == "ann"
    assert value(engine, "SELECT timezone FROM students") == "Europe/London"
    is_problem(await api.get("/api/v1/students/me/coins", headers=bearer("support", "sue")), 404, "STUDENT_NOT_FOUND")
    run(engine, "DELETE FROM students")
    is_problem(await api.get("/api/v1/students/me/coins", headers=mine), 404, "STUDENT_NOT_FOUND")
