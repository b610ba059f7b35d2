"""Every operation by every kind of caller, against a table written down here and not read from the code (row 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI
from sqlalchemy import Engine
from temporalio.client import Client

from api.app import create_app
from api.http import who_may_call
from api.http.health import router as health
from domain.ids import purchase_id_of
from domain.roles import ROLES
from runtime.dev_auth import dev_key, dev_token
from runtime.settings import Settings
from tests.api.conftest import booted, end_runs, is_problem
from tests.api.http.callers import Operation, good_request, operations, stored
from tests.build import cart_item, item, pay, run, start, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.subjects import bought_card, old_attempt
from tests.tokens import bearer

# own: their own only, another's is 404; self: their own, which no path names; any: everybody's; -: 403. In this order:
# student, support, admin, service.
EXPECTED = {
    "GET /healthz": "public",
    "GET /readyz": "public",
    "GET /metrics": "public",
    "GET /api/public/calendar.ics": "public",  # the link is the key
    "POST /api/v1/purchases": "- - any any",
    "POST /api/public/purchase-free": "own - - -",
    "POST /api/v1/admin/allocations/auto-assign": "- - any any",
    "GET /api/v1/purchases/{purchase}": "own any any -",
    "GET /api/v1/purchases/{purchase}/events": "own any any -",
    "POST /api/v1/events": "- - any any",
    "GET /api/v1/admin/dead-letters": "- any any -",
    "GET /api/v1/admin/dead-letters/{letter}": "- any any -",
    "POST /api/v1/admin/dead-letters/{letter}/fix": "- - any -",
    "POST /api/v1/admin/dead-letters/{letter}/replay": "- - any -",
    "POST /api/v1/admin/dead-letters:replay": "- - any -",
    "GET /api/v1/admin/outbox": "- any any -",
    "GET /api/v1/admin/webhooks": "- any any -",
    "POST /api/v1/admin/webhooks": "- - any -",
    "DELETE /api/v1/admin/webhooks/{target}": "- - any -",
    "GET /api/v1/admin/purchases": "- any any -",
    "GET /api/v1/admin/payments/unstarted": "- any any -",
    "GET /api/v1/admin/purchases/{purchase}/case": "- any any -",
    "GET /api/v1/admin/purchases/{purchase}/matching": "- any any -",
    "GET /api/v1/admin/purchases/{purchase}/acts": "- any any -",
    "POST /api/v1/admin/purchases/{purchase}/retry_now": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/retry-now": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/amend": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/skip_step": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/skip-step": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/assign_trainer": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/assign-trainer": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/approve_allocation": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/approve-allocation": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/create_sessions": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/create-sessions": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/cancel": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/settle_refund": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/settle-refund": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/withdraw": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/extend": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/{verb}": "- - any -",
    "GET /api/v1/purchases/{purchase}/lessons": "own any any -",
    "POST /api/v1/admin/purchases/{purchase}/lessons/{number}/reschedule": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/lessons/{number}/substitute": "- - any -",
    "POST /api/v1/admin/purchases/{purchase}/lessons/transfer": "- - any -",
    "GET /api/v1/students/{student_id}/lessons.ics": "own any any -",
    "GET /api/v1/admin/trainers/{trainer_id}/lessons.ics": "- any any -",
    "POST /api/v1/students/{student_id}/calendar-link": "own - any -",
    "DELETE /api/v1/students/{student_id}/calendar-link": "own - any -",
    "POST /api/v1/admin/trainers/{trainer_id}/calendar-link": "- - any -",
    "DELETE /api/v1/admin/trainers/{trainer_id}/calendar-link": "- - any -",
    "POST /api/v1/admin/purchases:bulk": "- - any -",
    "POST /api/v1/admin/purchases:wake": "- - any -",
    "PUT /api/v1/admin/trainers/{trainer_id}": "- - any -",
    "PUT /api/v1/students/{student_id}/profile": "own - any any",
    "GET /api/v1/students/{student_id}/coins": "own any any -",
    "POST /api/v1/students/{student_id}/coins": "- - any any",
    "GET /api/v1/catalogue": "any any any any",
    "GET /api/v1/catalogue/{item_type}/{item_id}": "any any any any",
    "GET /api/v1/cart": "self - - -",
    "POST /api/v1/cart/items": "self - - -",
    "DELETE /api/v1/cart/items/{cart_item_id}": "own - - -",
    "DELETE /api/v1/cart": "self - - -",
    "POST /api/v1/checkout": "self - - -",
    "GET /api/v1/checkout/preflight": "self - - -",
    "GET /api/user/available-tests": "self - - -",
    "POST /api/user/test-cards/{test_card_id}/start": "own - - -",
    "POST /api/user/start-test": "own - - -",
    "POST /api/user/generate-test-questions": "own - - -",
    "POST /api/v1/checkout/holds": "self - - -",
    "GET /api/v1/checkout/holds": "self - - -",
    "DELETE /api/v1/checkout/holds/{hold_id}": "own - - -",
    "POST /api/purchases": "self - - -",
    "POST /api/purchase": "self - - -",
}
NOT_HERE = ("UNKNOWN_VERB", "NO_ACTIVE_PURCHASE", "LESSON_NOT_FOUND", "TRAINER_NOT_FOUND")  # said to who may ask
NAMES_NOBODY = {"POST /api/public/purchase-free"}  # for whom it is says the token alone
KEYED = {"Idempotency-Key": "try-4711"}  # some operations ask for one, before anything else
GUARDED = [name for name, who in EXPECTED.items() if who != "public"]
OPEN = [name for name, who in EXPECTED.items() if who == "public"]


def operation(name: str) -> Operation:
    method, _, path = name.partition(" ")
    return Operation(method, path)


def reach(name: str, role: str) -> str:
    return dict(zip(("student", "support", "admin", "service"), EXPECTED[name].split(), strict=True))[role]


@pytest.fixture
def ids(engine: Engine, fake_provider: FakeProvider, paid: str) -> dict[str, str]:
    """Of student-1, who owns them; student-2 is there too and owns the like."""
    student(engine, "student-2")
    item(engine)
    for owner, payment in (("student-1", paid), ("student-2", f"{paid}-2")):
        if owner == "student-2":
            pay(engine, fake_provider, payment, student_id=owner)
        start(engine, payment, student_id=owner)
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = now()")  # so that its events end, too
    pay(engine, fake_provider, "pay-1")  # of the event in the documentation
    run(engine, "INSERT INTO webhook_targets VALUES ('target-1', 'https://shop.test', 'whsec_', '[]', now())")
    run(
        engine,
        "INSERT INTO dead_letters (digest, topic, topic_partition, topic_offset, payload, code, detail, tries, arrived_at)"
        " VALUES ('d', 'payments', 0, 0, 'bad', 'EVENT_NOT_JSON', 'bad', 3, now())",
    )
    of = f"purchase:{paid}:1"
    cart_item(engine, "cart-1")
    bought_card(engine, "card-1", payment_id=f"{paid}-cards")
    old_attempt(engine, questions='["2 + 2?"]')  # of the documentation
    trainer(engine)
    run(
        engine,
        "INSERT INTO allocations (id, trainer_id, student_id, status, created_at, course_id, hold_number, hold_expires_at)"
        " VALUES ('hold-1', 'trainer-1', 'student-1', 'on_hold', now(), 'course-chess', 1, '2030-01-01')",
    )
    people = {"student_id": "student-1", "trainer_id": "t-9"}
    things = {
        "item_type": "course", "item_id": "course-piano", "cart_item_id": "cart-1", "test_card_id": "card-1",
        "hold_id": "hold-1",
    }  # fmt: skip
    letters = {"letter": "1", "target": "target-1"}
    return {"purchase": of, "number": "3", **people, **things, **letters, "verb": "explode", "payment": paid}


@pytest_asyncio.fixture(loop_scope="session")
async def in_production(settings: Settings, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """The API as production boots it, on a home that has a development key."""
    given = {"provider_url": "https://provider.test", "coursaga_today": None, "dev_auth": None}
    async with booted(settings.with_values(**given, coursaga_home=tmp_path, coursaga_env="production")) as client:
        yield client


def refused(answer: httpx2.Response, of: str = "") -> None:
    """The one 401; `of` what, for who reads that it is not."""
    assert answer.status_code == 401, f"{of}: {answer.status_code} {answer.text}"
    body = is_problem(answer, 401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"
    told = {name: said for name, said in body.items() if name != "instance"}
    assert told == {
        "type": "http://127.0.0.1:8000/problems/UNAUTHENTICATED", "title": "Unauthorized", "status": 401, "code": "UNAUTHENTICATED", "retryable": False,
        "detail": "A valid token is needed, as `Authorization: Bearer ...`.",
    }  # fmt: skip


def let_in(answer: httpx2.Response) -> None:
    """Whatever it answers, it is about the request and not about the caller."""
    assert answer.status_code < 500, answer.text
    assert answer.status_code not in (401, 403), answer.text
    assert answer.status_code != 404 or answer.json()["code"] in NOT_HERE, answer.text


@pytest.mark.parametrize("name", GUARDED)
async def test_lets_in_exactly_who_may(name: str, api: httpx2.AsyncClient, engine: Engine, ids: dict[str, str]) -> None:
    asked = good_request(operation(name), ids)
    before = stored(engine)
    for role in ROLES:
        if reach(name, role) == "-":
            answer = await api.request(**asked, headers=KEYED | bearer(role, "student-1"))
            is_problem(answer, 403, "FORBIDDEN")
    if reach(name, "student") == "own" and name not in NAMES_NOBODY:
        missing = await api.request(**asked, headers=KEYED | bearer("student", "student-2"))
        assert is_problem(missing, 404, missing.json()["code"])["code"].endswith("_NOT_FOUND")
        nobodys = good_request(operation(name), dict.fromkeys(ids, "purchase:nobody:1"))
        unknown = await api.request(**nobodys, headers=KEYED | bearer("student", "student-2"))
        assert {**unknown.json(), "instance": ""} == {**missing.json(), "instance": ""}
    assert stored(engine) == before
    for role in ROLES:
        if reach(name, role) != "-":
            let_in(await api.request(**asked, headers=KEYED | bearer(role, "student-1")))


async def test_lets_in_nobody_without_a_good_token_anywhere(
    in_production: httpx2.AsyncClient, settings: Settings, engine: Engine, ids: dict[str, str], tmp_path: Path
) -> None:
    developing = settings.with_values(coursaga_home=tmp_path, dev_auth=True)
    dev_key(tmp_path)
    del in_production.headers["authorization"]
    strangers: list[dict[str, str]] = [{}, {"Authorization": "Basic YW5uOmFubg=="}, {"Authorization": ""}]
    for role in ROLES:
        made = dev_token(developing, role, "student-1", timedelta(hours=1))
        strangers += [
            bearer(role, "student-1", exp=1),
            bearer(role, "student-1", aud="another-api"),
            {"Authorization": f"Bearer {made}"},
        ]
    before = stored(engine)
    for name in GUARDED:
        asked = good_request(operation(name), ids)
        for headers in strangers:
            refused(await in_production.request(**asked, headers=headers), name)
        refused(await in_production.request(**{**asked, "json": None}, content=b"{" if "json" in asked else b""), name)
    assert stored(engine) == before


async def test_the_same_development_token_is_good_in_development(
    settings: Settings, temporal: Client, tmp_path: Path
) -> None:
    developing = settings.with_values(coursaga_home=tmp_path, dev_auth=True)
    async with booted(developing) as api:
        for role, status in (("support", 200), ("student", 403)):
            said = {"Authorization": f"Bearer {dev_token(developing, role, 'ann', timedelta(hours=1))}"}  # type: ignore[arg-type]
            assert (await api.get("/api/v1/admin/purchases", headers=said)).status_code == status
        refused(await api.get("/api/v1/admin/purchases", headers={"Authorization": "Bearer of.bad.news"}))
    await end_runs(temporal, settings.task_queue)


@pytest.mark.parametrize(
    "path", [*(name.removeprefix("GET ") for name in OPEN), "/docs", "/docs/swagger-ui.css", "/openapi.json"]
)
async def test_health_and_documentation_ask_nobody(path: str, api: httpx2.AsyncClient) -> None:
    del api.headers["authorization"]
    assert (await api.get(path)).status_code in (200, 422, 503)


@pytest.mark.parametrize("path", ["/", "/api/v1/nothing", "/api/v1/purchases/", "/healthz/", "/docs/x", "//healthz"])
async def test_what_is_not_there_is_401_to_strangers_and_404_to_others(path: str, api: httpx2.AsyncClient) -> None:
    is_problem(await api.get(path), 404, "NOT_FOUND")
    del api.headers["authorization"]
    refused(await api.get(path))


async def test_every_operation_is_in_the_table_and_documented_as_it_is(settings: Settings) -> None:
    app = create_app(settings)
    assert sorted(map(str, operations(app))) == sorted(EXPECTED)
    told = app.openapi()
    assert told["components"]["securitySchemes"]["HTTPBearer"]["bearerFormat"] == "at+jwt"
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            public = EXPECTED[f"{method.upper()} {path}"] == "public"
            assert one.get("security") == (None if public else [{"HTTPBearer": []}]), path
            assert ({"401", "403"} <= one["responses"].keys()) is not public, path
            assert one["operationId"] in who_may_call.POLICY


def test_every_row_of_the_policy_is_of_an_operation(settings: Settings) -> None:
    assert set(who_may_call.operations(create_app(settings))) == set(who_may_call.POLICY)


def test_an_operation_without_a_row_keeps_the_api_from_starting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(who_may_call.POLICY, "case_file")
    with pytest.raises(who_may_call.NoPolicy, match=r"'case_file'.*api/http/who_may_call\.py"):
        create_app(settings)


def test_two_operations_of_one_name_keep_the_api_from_starting() -> None:
    app, other = FastAPI(), APIRouter()

    @other.get("/elsewhere")
    async def healthz() -> None: ...

    app.include_router(health)
    app.include_router(other)
    with pytest.raises(who_may_call.NoPolicy, match="called 'healthz', the second at /elsewhere"):
        who_may_call.require_rows(app)


async def test_a_route_that_came_too_late_for_the_check_is_open_to_nobody(settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/api/v1/secrets")
    async def secrets() -> str:
        return "swordfish"

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://api", headers=bearer()) as client,
    ):
        is_problem(await client.get("/api/v1/secrets"), 500, "INTERNAL_ERROR")


async def test_a_purchase_is_shown_to_its_student_by_any_of_its_names(
    api: httpx2.AsyncClient, ids: dict[str, str]
) -> None:
    workflow_id = ids["purchase"]
    for spoken in (workflow_id, purchase_id_of(workflow_id), purchase_id_of(workflow_id).upper()):
        for who, status in (("student-1", 200), ("student-2", 404), ("STUDENT-1", 404), ("student-1 OR 1=1", 404)):
            answer = await api.get(f"/api/v1/purchases/{spoken}", headers=bearer("student", who))
            assert answer.status_code == status, (spoken, who)
