"""The direct door: a course by an admin's or a service's hand (mission rows 50, 53, 58, 59, 62, 63, C4, C5)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine

from tests.api.conftest import fresh, is_problem, shown, until
from tests.build import item, pay, rows, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.subjects import CARDS, bundle
from tests.tokens import bearer

PURCHASES = "/api/v1/purchases"
LESSONS = {"startDate": "2026-12-01", "timeSlot": "18:00", "scheduleType": "daily"}
ASKED: dict[str, Any] = {
    "studentId": "student-1",
    "courseId": "course-piano",
    "purchaseTier": 10,
    "expiryDate": "2027-12-31",
    "metadata": {**LESSONS, "note": {"of": ["ann", 1.5, None]}},
    "reason": "won in the spring draw",
}


@pytest.fixture
def shop(engine: Engine) -> None:
    """A student and a course; nobody teaches it."""
    student(engine)
    item(engine)


async def ask(
    api: httpx2.AsyncClient, key: str | None = None, by: str = "admin", wait: int = 25, **more: Any
) -> httpx2.Response:
    """`more` over the body; None leaves a key of the body out."""
    body = {name: said for name, said in {**ASKED, **more}.items() if said is not None}
    headers = {"Idempotency-Key": key} if key else {}
    return await api.post(PURCHASES, json=body, headers={**bearer(by, "ann"), "Prefer": f"wait={wait}", **headers})


def new_key() -> str:
    return f"ticket-{uuid4()}"


def count(engine: Engine, table: str) -> int:
    return value(engine, f"SELECT count(*) FROM {table}")  # noqa: S608 -- names of tables


@pytest.mark.usefixtures("shop", "worker")
async def test_gives_a_course_without_a_payment_once_and_remembers_who_and_why(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    trainer(engine)
    key = new_key()
    first = await ask(api, key)
    assert first.status_code == 201, first.text
    told = first.json()
    assert (told["success"], told["message"]) == (True, "Purchase created successfully")
    assert told["data"] | {"id": ""} == {
        "id": "", "workflowId": f"purchase:manual:{key}", "paymentId": None, "line": 1, "studentId": "student-1",
        "state": "started",
    }  # fmt: skip
    assert first.headers["location"] == f"{PURCHASES}/{told['data']['id']}"
    again = await ask(api, f'"{key}"')
    assert (again.status_code, again.json()["message"]) == (200, "Purchase already exists")
    assert again.json()["data"]["id"] == told["data"]["id"]

    done = await until(api, f"purchase:manual:{key}", "completed")
    assert (done["origin"], done["paymentId"], done["sessionCount"], done["sessions"]["count"]) == (
        "admin", None, 10, 10,
    )  # fmt: skip
    assert done["remaining"] == 10
    assert done["item"]["metadata"] == {**LESSONS, "courseId": "course-piano", "purchaseTier": 10, "expiryDate": "2027-12-31"}  # fmt: skip
    assert set(done["item"]["metadataSources"].values()) == {"request"}
    assert rows(engine, "SELECT actor, reason, supersede FROM purchase_requests") == [("ann", ASKED["reason"], False)]
    assert value(engine, "SELECT metadata_extras -> 'note' FROM student_course_purchases") == ASKED["metadata"]["note"]
    assert value(engine, "SELECT data ->> 'paymentId' FROM outbox WHERE type = 'PURCHASE_COMPLETED'") is None
    assert fake_provider.calls == []


@pytest.mark.usefixtures("shop", "worker")
async def test_gives_a_bundle_too(api: httpx2.AsyncClient, engine: Engine) -> None:
    named = {"itemType": "bundle", "itemId": bundle(engine, "science", ("physics", "biology"))}
    plain = {"courseId": None, "purchaseTier": None, "metadata": None}
    answer = await ask(api, new_key(), **plain, **named)
    assert answer.status_code == 201, answer.text
    done = await until(api, answer.json()["data"]["id"], "completed")
    assert (done["item"]["itemType"], done["item"]["itemId"], done["sessionCount"]) == ("bundle", "science", None)
    assert done["testCards"] == 100
    assert value(engine, CARDS) == 100
    for odd in ({**plain, "itemId": "science"}, named, plain):
        is_problem(await ask(api, new_key(), **odd), 422, "INVALID_REQUEST")


@pytest.mark.usefixtures("shop", "worker")
async def test_a_cancelled_one_gives_nothing_back_as_nothing_was_paid(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    key = new_key()
    assert (await ask(api, key)).status_code == 201
    await until(api, f"purchase:manual:{key}", "attention")
    act = {"reason": "by mistake", "requestKey": "k"}
    await api.post(f"/api/v1/admin/purchases/purchase:manual:{key}/cancel", json=act)
    done = await until(api, f"purchase:manual:{key}", "cancelled")
    assert (done["refunded"], done["item"]["status"]) == (False, "voided")
    assert (count(engine, "refunds"), fake_provider.calls) == (0, [])
    is_problem(await ask(api, key), 409, "CANCELLED")


@pytest.mark.usefixtures("shop")
async def test_without_a_worker_it_says_202_and_where_to_look(api: httpx2.AsyncClient) -> None:
    key = new_key()
    for _ in range(2):
        answer = await api.post(
            PURCHASES, json=ASKED, headers={"Idempotency-Key": key, "Prefer": "wait=0"}
        )  # the row is not there yet, whoever asks
        assert (answer.status_code, answer.json()["message"]) == (202, "Purchase is being created")
        assert (await api.get(answer.headers["location"])).json()["workflowId"] == f"purchase:manual:{key}"


@pytest.mark.usefixtures("shop")
async def test_an_admin_says_why_and_everybody_which(api: httpx2.AsyncClient, engine: Engine) -> None:
    is_problem(await ask(api, new_key(), reason=None), 422, "REASON_MISSING")
    is_problem(await ask(api), 400, "IDEMPOTENCY_KEY_MISSING")
    is_problem(await ask(api, new_key(), by="student"), 403, "FORBIDDEN")
    is_problem(await ask(api, new_key(), by="support"), 403, "FORBIDDEN")
    is_problem(await ask(api, new_key(), by="service", supersede=True), 403, "SUPERSEDE_IS_FOR_ADMINS")
    is_problem(await ask(api, new_key(), studentId="student-9"), 404, "STUDENT_NOT_FOUND")
    is_problem(await ask(api, new_key(), courseId="course-9"), 422, "UNKNOWN_ITEM")
    item(engine, "course-closed", is_open=False)
    is_problem(await ask(api, new_key(), courseId="course-closed"), 422, "COURSE_UNAVAILABLE")
    assert (count(engine, "purchase_starts"), count(engine, "purchase_requests")) == (0, 0)
    assert (await ask(api, new_key(), by="service", wait=0, reason=None)).status_code == 202


@pytest.mark.parametrize(
    "wrong",
    [
        {"isSundayOnly": "yes"}, {"isSundayOnly": 1}, {"sessionDuration": 0}, {"sessionDuration": "60"},
        {"sessionDuration": 9999}, {"timeSlot": "6pm"}, {"timeSlot": "25:00"}, {"timeSlot": 18}, {"startDate": "soon"},
        {"startDate": "2026-02-30"}, {"scheduleType": "hourly"}, {"learningMode": "pool"}, {"groupSize": 0},
        {"timeSlot": None, "classTime": "x"}, {"timeSlot": None}, {"startDate": None}, {"expiryDate": "someday"},
        {"expiryDate": "2026-11-19"},
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.usefixtures("shop")
async def test_lessons_that_cannot_be_are_422(api: httpx2.AsyncClient, engine: Engine, wrong: dict[str, Any]) -> None:
    answer = await ask(api, new_key(), metadata={**LESSONS, **wrong}, expiryDate=None)
    body = is_problem(answer, 422, "METADATA_INCOMPLETE")
    assert any(name in body["detail"] for name in (*wrong, "timeSlot"))
    assert (count(engine, "purchase_starts"), count(engine, "purchase_requests")) == (0, 0)


@pytest.mark.parametrize(
    "injected",
    [
        {"price": 0}, {"priceMinor": 1}, {"amountMinor": 0}, {"status": "succeeded"}, {"role": "admin"}, {"actor": "bob"},
        {"origin": "checkout"}, {"workflowId": "purchase:x:1"}, {"purchaseTier": "20"}, {"purchaseTier": 20.0},
        {"purchaseTier": True}, {"studentId": 1}, {"studentId": "a\0b"}, {"courseId": ""}, {"reason": "  "},
        {"supersede": "true"}, {"supersede": 1}, {"line": 1}, {"paymentId": "p", "line": 0}, {"paymentId": "p", "line": "1"},
        {"paymentId": "p", "supersede": True}, {"expiryDate": "31.12.2027"}, {"metadata": []}, {"metadata": "x"},
        {"metadata": {"a": "\0"}}, {"metadata": {"\0": 1}}, {"metadata": {"a": [[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]}},
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.usefixtures("shop")
async def test_what_is_not_for_the_caller_to_say_is_422_and_nothing_is_stored(
    api: httpx2.AsyncClient, engine: Engine, injected: dict[str, Any]
) -> None:
    is_problem(await ask(api, new_key(), **injected), 422, "INVALID_REQUEST")
    assert (count(engine, "purchase_starts"), count(engine, "purchase_requests")) == (0, 0)


@pytest.mark.parametrize("content", [b'"NaN"', b"NaN", b"Infinity", b"1e999", rb'"\ud800"'])
@pytest.mark.usefixtures("shop")
async def test_metadata_that_cannot_be_kept_is_422(api: httpx2.AsyncClient, engine: Engine, content: bytes) -> None:
    body = b'{"studentId":"student-1","courseId":"course-piano","reason":"r","metadata":{"startDate":"2026-12-01",'
    body += b'"timeSlot":"18:00","odd":' + content + b"}}"
    headers = {"content-type": "application/json", "Idempotency-Key": new_key(), "Prefer": "wait=0"}
    answer = await api.post(PURCHASES, content=body, headers=headers)
    if content == b'"NaN"':  # a text like any other
        assert answer.status_code == 202
        return
    is_problem(answer, 422, "INVALID_REQUEST")
    assert count(engine, "purchase_starts") == 0


@pytest.mark.parametrize("key", ["a b", "ö", "k" * 129, '"k', "a/b", "'; --"], ids=ascii)
@pytest.mark.usefixtures("shop")
async def test_a_key_that_cannot_be_part_of_an_id_is_422(api: httpx2.AsyncClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = await api.post(PURCHASES, json=ASKED, headers={**headers})  # type: ignore[dict-item]
    is_problem(answer, 422, "INVALID_REQUEST")


@pytest.mark.usefixtures("shop")
async def test_a_key_is_of_one_request(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine, "student-2")
    item(engine, "course-chess")
    key = new_key()
    headers = {"Idempotency-Key": key, "Prefer": "wait=0"}
    assert (await api.post(PURCHASES, json=ASKED, headers=headers)).status_code == 202
    others: list[dict[str, Any]] = [
        {"studentId": "student-2"}, {"courseId": "course-chess"}, {"purchaseTier": 20}, {"supersede": True}, {"reason": "else"},
    ]  # fmt: skip
    for other in others:
        is_problem(await api.post(PURCHASES, json={**ASKED, **other}, headers=headers), 409, "KEY_REUSED")
    is_problem(await api.post(PURCHASES, json={"paymentId": fresh()}, headers=headers), 404, "PAYMENT_NOT_FOUND")
    for other in others[:4]:  # also when somebody else sends it
        theirs = headers | bearer("admin", "bob")
        is_problem(await api.post(PURCHASES, json={**ASKED, **other}, headers=theirs), 409, "KEY_REUSED")
    assert count(engine, "purchase_starts") == 1


@pytest.mark.usefixtures("shop", "worker")
async def test_of_a_payment_it_is_the_payments_own_line_and_the_payment_wins(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    lines = (("course", "course-chess"), ("course", "course-piano"))
    payment = pay(engine, fake_provider, fresh(), items=lines)
    first = await ask(api, paymentId=payment, purchaseTier=20, metadata={"timeSlot": "07:00", "classTypeId": "solo"})
    assert (first.status_code, first.json()["data"]["workflowId"]) == (201, f"purchase:{payment}:2")
    assert (await ask(api, paymentId=payment, line=2)).status_code == 200
    checkout = await api.post(PURCHASES, json={"paymentId": payment})
    assert [line["state"] for line in checkout.json()["lines"]] == ["started", "running"]
    seen = await shown(api, f"purchase:{payment}:2")
    assert (seen["origin"], seen["sessionCount"]) == ("admin", 10)  # the payment's tier
    fields, sources = seen["item"]["metadata"], seen["item"]["metadataSources"]
    assert (fields["timeSlot"], sources["timeSlot"]) == ("18:00", "payment")
    assert (fields["classTypeId"], sources["classTypeId"]) == ("solo", "request")


@pytest.mark.usefixtures("shop")
async def test_of_a_payment_that_is_not_so_nothing_starts(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine, "student-2")
    twice = pay(engine, fake_provider, fresh(), items=(("course", "course-piano"),) * 2)
    for said, status, code in (
        ({"paymentId": fresh()}, 404, "PAYMENT_NOT_FOUND"),
        ({"paymentId": twice, "studentId": "student-2"}, 409, "CONFLICT_OTHER_OWNER"),
        ({"paymentId": twice, "courseId": "course-chess"}, 422, "LINE_NOT_FOUND"),
        ({"paymentId": twice, "line": 3}, 422, "LINE_NOT_FOUND"),
        ({"paymentId": twice}, 422, "LINE_AMBIGUOUS"),
        ({"paymentId": twice, "line": 1, "metadata": {"timeSlot": "noon"}}, 422, "METADATA_INCOMPLETE"),
    ):
        is_problem(await ask(api, **said), status, code)
    assert (count(engine, "purchase_starts"), count(engine, "purchase_requests")) == (0, 0)


@pytest.mark.usefixtures("shop", "worker")
async def test_a_payment_that_failed_is_answered_with_its_refusal(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    payment = pay(engine, fake_provider, fresh(), status="failed")
    is_problem(await ask(api, paymentId=payment), 409, "PAYMENT_NOT_SUCCEEDED")


@pytest.mark.usefixtures("shop", "worker")
async def test_twenty_keys_at_once_give_the_student_one_course(api: httpx2.AsyncClient, engine: Engine) -> None:
    answers = await asyncio.gather(*(ask(api, new_key()) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert (count(engine, "purchase_starts"), count(engine, "student_course_purchases")) == (1, 1)


@pytest.mark.usefixtures("shop", "worker")
async def test_an_admin_may_supersede_with_a_reason_and_lessons_booked_before_still_count(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    trainer(engine)
    old, new = new_key(), new_key()
    await ask(api, old)
    await until(api, f"purchase:manual:{old}", "completed")
    other = {**LESSONS, "timeSlot": "09:00"}
    same = await ask(api, new_key(), metadata=other)
    assert (same.status_code, same.json()["data"]["workflowId"]) == (200, f"purchase:manual:{old}")
    assert (await ask(api, new, metadata=other, purchaseTier=20, supersede=True)).status_code == 201
    done = await until(api, f"purchase:manual:{new}", "completed")
    assert (done["sessions"]["count"], done["remaining"]) == (20, 30)
    before = await shown(api, f"purchase:manual:{old}")
    assert (before["item"]["status"], before["sessions"]["count"], before["remaining"]) == ("superseded", 10, 10)
    # One lesson given, one cancelled: neither is still to come.
    run(
        engine,
        "UPDATE sessions SET starts_at = starts_at - interval '60 days', ends_at = ends_at - interval '60 days'"
        " WHERE purchase_id = :id AND number = 1",
        id=before["id"],
    )
    run(engine, "UPDATE sessions SET status = 'cancelled' WHERE purchase_id = :id AND number = 2", id=done["id"])
    assert (await shown(api, f"purchase:manual:{new}"))["remaining"] == 28


@pytest.mark.usefixtures("shop", "worker")
async def test_access_that_is_over_is_no_reason_to_keep_the_old_purchase(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    old, new = new_key(), new_key()
    await ask(api, old)
    run(engine, "UPDATE student_course_purchases SET expires_on = '2026-11-20'")
    assert (await ask(api, new)).status_code == 201
    assert rows(engine, "SELECT workflow_id, status FROM student_course_purchases ORDER BY status") == [
        (f"purchase:manual:{new}", "active"), (f"purchase:manual:{old}", "superseded"),
    ]  # fmt: skip
