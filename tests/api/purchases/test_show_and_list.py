"""Looking at purchases: one of them, and the list, with and without Temporal and workers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import Client

from api.http.known_words import CODES, STAGES
from db.engine import make_engine
from db.grants import WORKER
from domain.ids import purchase_id_of
from domain.refusals import REFUSALS, Fate
from runtime.settings import Settings
from tests import cluster
from tests.api.conftest import NOBODY, begin, booted, end_runs, fresh, is_problem, settings_for, shown, until
from tests.build import item, pay, run, start, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role
from tests.waiting import eventually
from worker import make_worker
from workflows.steps import TABLE

LIST = "/api/v1/admin/purchases"


@pytest.mark.usefixtures("worker")
async def test_shows_a_completed_purchase_whole(api: httpx2.AsyncClient, paid: str, engine: Engine) -> None:
    trainer(engine)
    purchase = await begin(api, paid)
    seen = await until(api, purchase, "completed")
    assert (seen["id"], seen["line"], seen["studentId"]) == (purchase_id_of(purchase), 1, "student-1")
    assert (seen["sessionCount"], seen["sessionCountSource"]) == (10, "purchaseTier")
    assert seen["sessions"] == {
        "count": 10,
        "firstLocal": "2026-12-01T18:00",
        "lastLocal": "2026-12-10T18:00",
        "minutes": 60,
        "timezone": "Europe/London",
    }
    assert (seen["trainer"]["trainerId"], seen["trainer"]["status"]) == ("trainer-1", "approved")
    assert {"confirm_payment", "create_purchase", "create_sessions"} <= {step["step"] for step in seen["steps"]}
    assert {step["state"] for step in seen["steps"]} == {"done"}
    assert (seen["attention"], seen["stage"], seen["endedAt"] is None) == (None, None, False)
    assert seen["source"] == "database"
    for spoken in (purchase, quote(purchase, safe=""), seen["id"].upper()):
        assert (await shown(api, spoken))["id"] == seen["id"]


async def test_a_parked_purchase_is_shown_with_its_worker_down(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider, paid: str
) -> None:
    async with booted(settings) as api:
        purchase = await begin(api, paid)
        async with make_worker(temporal, settings, engine, fake_provider):
            seen = await until(api, purchase, "attention")
        assert (seen["code"], seen["stage"]) == ("NO_TRAINER_AVAILABLE", "assign_trainer")
        assert seen["attention"]["nextAction"].startswith("Add a trainer")
        assert None not in (seen["attention"]["since"], seen["nextRetry"])
        later = await shown(api, purchase)
        assert later["attention"] == seen["attention"]
        assert (later["source"], later["temporal"]) == ("temporal+database", "running")
    async with booted(settings.with_values(temporal_address=NOBODY)) as cut_off:
        blind = await shown(cut_off, purchase)
    assert (blind["source"], blind["temporal"], blind["worker"]) == ("database", "unreachable", "unknown")
    assert (blind["ending"], blind["attention"]) == ("running", None)
    await end_runs(temporal, settings.task_queue)


async def test_says_that_no_worker_is_up(api: httpx2.AsyncClient, paid: str) -> None:
    seen = await shown(api, await begin(api, paid))
    assert (seen["worker"], seen["ending"], seen["stage"]) == ("down", "running", "starting")


async def test_a_purchase_temporal_forgot_is_shown_from_the_database(
    api: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    order = start(engine, paid)
    run(
        engine,
        "UPDATE purchase_starts SET ending = 'refused', code = 'COURSE_UNAVAILABLE', refunded = true, ended_at = now()",
    )
    seen = await shown(api, order.purchase_id)
    assert (seen["ending"], seen["code"], seen["refunded"]) == ("refused", "COURSE_UNAVAILABLE", True)
    assert (seen["source"], seen["temporal"], seen["item"]) == ("database", "forgotten", None)


@pytest.mark.parametrize("purchase", ["d72bb673-fc59-44dd-bc37-212937f8bb35", "purchase:nobody:1", "purchase:manual:k"])
async def test_an_unknown_purchase_is_404(api: httpx2.AsyncClient, purchase: str) -> None:
    is_problem(await api.get(f"/api/v1/purchases/{purchase}"), 404, "PURCHASE_NOT_FOUND")


class Market:
    """One purchase of each ending, by payment id, and the API that lists them. For tests that only read."""

    api: httpx2.AsyncClient
    completed: str
    refused: str
    attention: str
    running: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def market(postgres: str, temporal: Client, temporal_address: str) -> AsyncIterator[Market]:
    provider, queue = FakeProvider(), f"api-{uuid4()}"
    with cluster.database(postgres) as url, ExitStack() as leaving:
        settings = settings_for(url, temporal_address, queue)
        engine = make_engine(as_role(WORKER, url), pool_size=8)
        leaving.callback(engine.dispose)
        async with booted(settings, provider) as api:
            yield await made_market(api, settings, temporal, engine, provider)
        await end_runs(temporal, queue)


async def made_market(
    api: httpx2.AsyncClient, settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> Market:
    made = Market()
    made.api = api
    student(engine)
    student(engine, "student-2")
    for course, is_open in (("course-piano", True), ("course-chess", True), ("course-closed", False)):
        item(engine, course, is_open=is_open)
    trainer(engine)
    made.completed = pay(engine, fake_provider, fresh())
    made.refused = pay(engine, fake_provider, fresh(), items=(("course", "course-closed"),))
    made.attention = pay(engine, fake_provider, fresh(), student_id="student-2", items=(("course", "course-chess"),))
    made.running = pay(engine, fake_provider, fresh(), student_id="student-2")
    async with make_worker(temporal, settings, engine, fake_provider):
        for name in ("completed", "refused", "attention"):
            payment = getattr(made, name)
            await begin(api, payment)
            await until(api, f"purchase:{payment}:1", name)
    await begin(api, made.running)
    for seen, name in (({"attention": "any"}, made.attention), ({"stage": "starting"}, made.running)):
        await eventually(lambda seen=seen: rows_of(api, **seen), lambda rows, name=name: set(rows) == {name})
    return made


async def rows_of(api: httpx2.AsyncClient, **filters: Any) -> dict[str, dict[str, Any]]:
    answer = await api.get(LIST, params=filters)
    assert answer.status_code == 200, answer.text
    return {row["paymentId"]: row for row in answer.json()["purchases"]}


async def test_lists_every_ending_with_all_its_fields(market: Market) -> None:
    rows = await rows_of(market.api)
    assert {payment: row["ending"] for payment, row in rows.items()} == {
        market.completed: "completed",
        market.refused: "refused",
        market.attention: "attention",
        market.running: "running",
    }
    expected = {"code": None, "sessionCount": 10, "sessionCountSource": "purchaseTier", "sessions": 10,
                "firstLocal": "2026-12-01T18:00", "lastLocal": "2026-12-10T18:00", "minutes": 60,
                "timezone": "Europe/London", "line": 1, "studentId": "student-1", "testCards": 0}  # fmt: skip
    done = rows[market.completed]
    assert {name: done[name] for name in expected} == expected
    refused = rows[market.refused]
    assert (refused["code"], refused["refunded"], refused["sessions"]) == ("COURSE_UNAVAILABLE", True, 0)
    parked = rows[market.attention]
    assert (parked["code"], parked["stage"]) == ("NO_TRAINER_AVAILABLE", "assign_trainer")
    assert None not in (parked["since"], parked["nextRetry"], parked["nextAction"])
    waiting = rows[market.running]
    assert (waiting["code"], waiting["since"], waiting["stage"]) == (None, None, "starting")


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"attention": "any"}, ["attention"]),
        ({"attention": "NO_TRAINER_AVAILABLE"}, ["attention"]),
        ({"attention": "GPS_INVALID"}, set[str]()),
        ({"ending": "attention"}, ["attention"]),
        ({"ending": "attention", "code": "GPS_INVALID"}, set[str]()),
        ({"ending": "running"}, ["running"]),
        ({"ending": "running", "code": "GPS_INVALID"}, set[str]()),
        ({"ending": "completed"}, ["completed"]),
        ({"ending": "refused", "code": "COURSE_UNAVAILABLE"}, ["refused"]),
        ({"ending": "refused", "attention": "any"}, set[str]()),
        ({"ending": "cancelled"}, set[str]()),
        ({"code": "NO_TRAINER_AVAILABLE"}, ["attention"]),
        ({"code": "COURSE_UNAVAILABLE"}, ["refused"]),
        ({"student": "student-2"}, ["attention", "running"]),
        ({"student": "student-2", "attention": "any"}, ["attention"]),
        ({"student": "student-1", "attention": "any"}, set[str]()),
        ({"item": "course-chess"}, ["attention"]),
        ({"item": "course-piano"}, ["completed", "running"]),
        ({"item": "course-piano", "ending": "running"}, ["running"]),
        ({"item": "course-harp"}, set[str]()),
        ({"stage": "assign_trainer"}, ["attention"]),
        ({"stage": "starting"}, ["running"]),
        ({"stage": "starting", "attention": "any"}, set[str]()),
        ({"stage": "assign_trainer", "code": "NO_TRAINER_AVAILABLE"}, ["attention"]),
        ({"stage": "assign_trainer", "code": "COURSE_UNAVAILABLE"}, set[str]()),
        ({"stage": "assign_trainer", "ending": "running"}, set[str]()),
        ({"stage": "starting", "ending": "running"}, ["running"]),
        ({"stage": "assign_trainer", "ending": "completed"}, set[str]()),
        ({"problems": "true"}, set[str]()),
    ],
    ids=str,
)
async def test_filters(market: Market, filters: dict[str, str], names: list[str]) -> None:
    assert set(await rows_of(market.api, **filters)) == {getattr(market, name) for name in names}


async def test_finds_the_lines_of_a_payment(market: Market) -> None:
    assert set(await rows_of(market.api, payment=market.attention, attention="any")) == {market.attention}
    assert set(await rows_of(market.api, payment=market.running)) == {market.running}


async def test_needs_temporal_to_say_what_waits(settings: Settings, paid: str, engine: Engine) -> None:
    start(engine, paid)
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        is_problem(await api.get(LIST), 503, "TEMPORAL_UNAVAILABLE")


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
async def test_pages_hold_every_row_once_in_order(
    api: httpx2.AsyncClient, paid: str, engine: Engine, limit: int
) -> None:
    for line in range(1, 8):  # at the same instant, so the id has to break the tie
        start(engine, paid, line=line)
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = now()")
    seen: list[int] = []
    cursor: str | None = None
    while True:
        asked = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = (await api.get(LIST, params=asked)).json()
        assert len(page["purchases"]) <= limit
        seen += [row["line"] for row in page["purchases"]]
        if (cursor := page["nextCursor"]) is None:
            break
    assert sorted(seen) == list(range(1, 8))


async def test_lists_payments_that_no_workflow_has_taken_up(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    for name in ("a-new", "b-half", "c-left", "d-going", "e-ended", "f-new"):
        pay(engine, fake_provider, name, items=(("course", "course-piano"),) * (2 if name == "b-half" else 1))
    for name in ("b-half", "c-left", "d-going", "e-ended"):
        start(engine, name)
    run(
        engine,
        "UPDATE purchase_starts SET ending = 'refused', code = 'X', ended_at = now() WHERE payment_id IN ('e-ended', 'b-half')",
    )
    going = purchase_id_of("purchase:d-going:1")
    run(engine, "INSERT INTO purchase_steps VALUES (:id, 1, 'confirm_payment', 'done', CAST(:result AS jsonb), now())",
        id=going, result=json.dumps({}))  # fmt: skip
    first = (await api.get("/api/v1/admin/payments/unstarted", params={"limit": 3})).json()
    assert first == {"paymentIds": ["a-new", "b-half", "c-left"], "nextAfter": "c-left"}
    rest = (await api.get("/api/v1/admin/payments/unstarted", params={"after": "c-left"})).json()
    assert rest == {"paymentIds": ["f-new"], "nextAfter": None}


@pytest.mark.parametrize(
    ("name", "mistyped", "exists"),
    [
        ("code", "NO_TRAINER", "NO_TRAINER_AVAILABLE"), ("attention", "all", "any, true, PAYMENT_NOT_FOUND"),
        ("attention", "NO_TRAINERS_AVAILABLE", "NO_TRAINER_AVAILABLE"), ("code", "WRONG_STAGE", "COMPENSATION_STUCK"),
        ("stage", "create_session", "create_sessions"), ("ending", "complete", "completed"),
    ],
)  # fmt: skip
async def test_a_mistyped_filter_is_told_what_exists(
    api: httpx2.AsyncClient, name: str, mistyped: str, exists: str
) -> None:
    problem = is_problem(await api.get("/api/v1/admin/purchases", params={name: mistyped}), 422, "INVALID_REQUEST")
    assert exists in problem["detail"]
    assert name in problem["detail"]
    if name != "ending":
        body = {"verb": "retry_now", "filter": {name: mistyped}, "reason": "r", "requestKey": "mistyped-1"}
        problem = is_problem(await api.post("/api/v1/admin/purchases:bulk", json=body), 422, "INVALID_REQUEST")
        assert exists.removeprefix("any, true, ") in problem["detail"]


def test_filters_name_every_step_and_every_code_of_a_purchase() -> None:
    assert set(CODES) == {code for code, row in REFUSALS.items() if row.fate is not Fate.MESSAGE}
    assert {step.name for step in TABLE} < set(STAGES)
