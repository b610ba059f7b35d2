"""`POST /api/v1/purchases`: rows before workflows, one workflow per line, honest answers."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from runtime.settings import Settings
from tests.api.conftest import NOBODY, booted, end_runs, fresh, is_problem, shown, until
from tests.build import item, pay, rows, run, start, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from workflows.attributes import ITEM_ID, NEEDS_ATTENTION, ORIGIN, PAYMENT_ID, PURCHASE_STAGE, STUDENT_ID


async def post(api: httpx2.AsyncClient, payment_id: str, **headers: str) -> httpx2.Response:
    return await api.post("/api/v1/purchases", json={"paymentId": payment_id}, headers=headers)


async def test_starts_a_workflow_and_says_where_to_look(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    answer = await post(api, paid)
    assert answer.status_code == 202
    (line,) = answer.json()["lines"]
    assert line["workflowId"] == f"purchase:{paid}:1"
    assert line["state"] == "started"
    assert answer.headers["location"] == f"/api/v1/purchases/{line['id']}"
    assert (await shown(api, line["id"]))["workflowId"] == line["workflowId"]
    assert value(engine, "SELECT student_id FROM purchase_starts WHERE purchase_id = :id", id=line["id"]) == "student-1"


async def test_can_be_found_in_temporal_by_its_ids(api: httpx2.AsyncClient, paid: str, temporal: Client) -> None:
    await post(api, paid)
    known = (await temporal.get_workflow_handle(f"purchase:{paid}:1").describe()).typed_search_attributes
    found = {key.name: known.get(key) for key in (STUDENT_ID, ITEM_ID, PAYMENT_ID, ORIGIN, PURCHASE_STAGE)}
    assert found == {
        "StudentId": "student-1",
        "ItemId": "course-piano",
        "PaymentId": paid,
        "Origin": "checkout",
        "PurchaseStage": "running",
    }
    assert known.get(NEEDS_ATTENTION) is False


async def test_ten_at_once_make_one_workflow_and_one_row(
    api: httpx2.AsyncClient, paid: str, engine: Engine, temporal: Client
) -> None:
    answers = await asyncio.gather(*(post(api, paid) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]
    assert len({answer.text.replace("running", "started") for answer in answers}) == 1
    assert rows(engine, "SELECT workflow_id FROM purchase_starts") == [(f"purchase:{paid}:1",)]
    assert (await temporal.count_workflows(f"PaymentId = '{paid}'")).count == 1


@pytest.mark.usefixtures("worker")
async def test_prefer_wait_answers_201_once_the_purchase_row_exists(
    api: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    answer = await post(api, paid, Prefer="respond-async, wait=20")
    assert answer.status_code == 201
    (line,) = answer.json()["lines"]
    assert value(engine, "SELECT status FROM student_course_purchases WHERE id = :id", id=line["id"]) == "active"
    assert (await post(api, paid, Prefer="wait=20")).status_code == 200


@pytest.mark.usefixtures("worker")
async def test_prefer_wait_stops_waiting_for_a_line_that_was_refused(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    answer = await post(api, pay(engine, fake_provider, fresh(), status="failed"), Prefer="wait=30")
    assert answer.status_code == 202


async def test_prefer_wait_gives_up_when_no_worker_takes_it(api: httpx2.AsyncClient, paid: str) -> None:
    assert (await post(api, paid, Prefer="wait=1")).status_code == 202


@pytest.mark.parametrize("preference", ["wait=", "wait=-1", "wait=abc", "=", "wait=1000000000000000000000"])
async def test_ignores_a_preference_it_cannot_read(api: httpx2.AsyncClient, paid: str, preference: str) -> None:
    assert (await post(api, paid, Prefer=preference)).status_code == 202


async def test_every_line_gets_its_own_workflow_whatever_it_bought(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    lines = (("course", "course-piano"), ("subject", "physics"), ("bundle", "science"), ("test", "exam"))
    payment = pay(engine, fake_provider, fresh(), items=lines)
    answer = await post(api, payment)
    assert answer.status_code == 202
    assert [line["state"] for line in answer.json()["lines"]] == ["started"] * 4
    assert rows(engine, "SELECT line FROM purchase_starts ORDER BY line") == [(1,), (2,), (3,), (4,)]


async def test_an_unknown_payment_is_404_and_stores_nothing(api: httpx2.AsyncClient, engine: Engine) -> None:
    body = is_problem(await post(api, fresh()), 404, "PAYMENT_NOT_FOUND")
    assert body["retryable"] is False
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 0


async def test_with_temporal_away_it_says_503_and_the_next_post_starts_the_row_it_left(
    settings: Settings, temporal: Client, paid: str, engine: Engine
) -> None:
    async with booted(settings.with_values(temporal_address=NOBODY)) as cut_off:
        answer = await post(cut_off, paid)
        assert is_problem(answer, 503, "TEMPORAL_UNAVAILABLE")["retryable"] is True
        assert int(answer.headers["retry-after"]) > 0
        assert value(engine, "SELECT count(*) FROM purchase_starts") == 1
    async with booted(settings) as api:
        assert (await post(api, paid)).json()["lines"][0]["state"] == "started"
    await end_runs(temporal, settings.task_queue)


async def test_with_the_database_away_it_says_503(settings: Settings) -> None:
    gone = settings.with_values(database_url="postgresql://nobody:nothing@127.0.0.1:1/none")
    async with booted(gone) as api:
        answer = await post(api, "pay-1")
        is_problem(answer, 503, "DATABASE_UNAVAILABLE")
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("ending", ["completed", "refused", "cancelled"])
async def test_a_closed_purchase_is_answered_from_the_database_without_temporal(
    settings: Settings, paid: str, engine: Engine, ending: str
) -> None:
    close(engine, paid, ending, code=None if ending == "completed" else "COURSE_UNAVAILABLE")
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        answer = await post(api, paid, Prefer="wait=9")
    assert answer.status_code == 200
    assert answer.json()["lines"][0]["state"] == ending


@pytest.mark.usefixtures("worker")
async def test_a_line_that_took_no_money_starts_again_once_the_payment_is_good(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    trainer(engine)
    payment = pay(engine, fake_provider, fresh(), status="failed")
    await post(api, payment)
    assert (await until(api, f"purchase:{payment}:1", "refused"))["code"] == "PAYMENT_NOT_SUCCEEDED"
    assert (await post(api, payment)).json()["lines"][0]["state"] == "refused"

    fake_provider.set_status(payment, "succeeded")
    run(engine, "UPDATE payments SET status = 'succeeded'")
    answers = await asyncio.gather(*(restarted(api, payment) for _ in range(5)))
    assert sorted(answer.json()["lines"][0]["state"] != "started" for answer in answers) == [False] + [True] * 4
    done = await until(api, f"purchase:{payment}:1", "completed")
    assert (done["attempt"], done["sessions"]["count"]) == (2, 10)
    assert (await post(api, payment)).json()["lines"][0]["state"] == "completed"


async def restarted(api: httpx2.AsyncClient, payment: str) -> httpx2.Response:
    """The run that was refused closes a moment after its row says so; until then a start says "again in a moment"."""
    while (answer := await post(api, payment)).status_code == 503:
        assert answer.json()["code"] == "PREVIOUS_ATTEMPT_CLOSING"
        await asyncio.sleep(0.02)
    return answer


async def test_a_refunded_line_never_starts_again(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    close(engine, paid, "refused", code="PAYMENT_PENDING_TOO_LONG", refunded=True)
    assert (await post(api, paid)).json()["lines"][0]["state"] == "refused"
    assert value(engine, "SELECT attempt FROM purchase_starts") == 1


def close(engine: Engine, payment: str, ending: str, code: str | None, *, refunded: bool = False) -> None:
    """A purchase that a door started long ago: its row is all that is left."""
    start(engine, payment)
    run(
        engine,
        "UPDATE purchase_starts SET ending = :ending, code = :code, refunded = :refunded, ended_at = now()",
        ending=ending, code=code, refunded=refunded,
    )  # fmt: skip
