"""What answers say beside their content; what requests may not leave open (mission row 66)."""

from __future__ import annotations

import json

import httpx2
import pytest
from sqlalchemy import Engine

from runtime.settings import Settings
from tests.api.conftest import booted, fresh, is_problem, serving
from tests.api.http.callers import stored
from tests.build import item, pay, start, student
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer

COINS = "/api/v1/students/student-1/coins"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", COINS, "GET, HEAD, POST"), ("PATCH", "/api/v1/cart", "DELETE, GET, HEAD"),
        ("PUT", "/api/v1/purchases", "POST"), ("POST", "/healthz", "GET, HEAD"), ("OPTIONS", COINS, "GET, HEAD, POST"),
    ],
)  # fmt: skip
async def test_a_wrong_method_is_told_all_the_right_ones(
    api: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    is_problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allowed


async def test_head_is_get_without_a_body(settings: Settings, engine: Engine, fake_provider: FakeProvider) -> None:
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    async with serving(settings) as api:
        for path in (COINS, f"/api/v1/purchases/{purchase}", "/healthz", "/metrics", "/docs"):
            told, whole = await api.head(path), await api.get(path)
            assert (told.status_code, told.content) == (whole.status_code, b""), path
            assert told.headers["content-type"] == whole.headers["content-type"]
        stream = await api.head(f"/api/v1/purchases/{purchase}/events")
        assert (stream.status_code, stream.content) == (200, b"")
        assert (await api.head("/api/v1/purchases/purchase:none:1")).status_code == 404


async def test_what_is_about_a_person_is_stored_by_nobody_and_no_type_is_guessed(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    student(engine)
    for path, kept in ((COINS, "no-store"), ("/api/v1/cart", "no-store"), ("/nowhere", None), ("/healthz", None)):
        answer = await api.get(path, headers=bearer("student", "student-1"))
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers.get("cache-control") == kept, path
    refused = await api.get(COINS, headers={"Authorization": "Bearer x"})
    assert (refused.headers["cache-control"], refused.headers["x-content-type-options"]) == ("no-store", "nosniff")


TOP_UP = '{"coins": 1, "reason": "a test", "requestKey": "k1"'


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (TOP_UP + ', "coins": 2}', "the same key twice"),
        (TOP_UP.replace("a test", "a \\ud800 test") + "}", "cannot be stored"),
        (TOP_UP.replace("a test", "a \\u0000 test") + "}", "cannot be stored"),
    ],
    ids=["a name twice", "half a pair", "NUL"],
)
async def test_a_body_that_can_be_read_in_two_ways_or_not_be_kept_is_refused(
    api: httpx2.AsyncClient, engine: Engine, said: str, why: str
) -> None:
    student(engine)
    before = stored(engine)
    headers = {"Content-Type": "application/json"}
    assert why in is_problem(await api.post(COINS, content=said, headers=headers), 422, "INVALID_REQUEST")["detail"]
    forbidden = await api.post(COINS, content=said, headers=headers | bearer("student", "student-1"))
    is_problem(forbidden, 403, "FORBIDDEN")  # who may not ask is told so first
    assert stored(engine) == before


async def test_a_name_twice_is_refused_at_every_depth_and_door(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    item(engine)
    body = json.dumps({"itemType": "course", "itemId": "course-piano", "metadata": {"startDate": "2026-12-01"}})
    twice = body.replace('"startDate"', '"startDate": "2027-01-01", "startDate"')
    headers = bearer("student", "student-1") | {"Content-Type": "application/json"}
    is_problem(await api.post("/api/v1/cart/items", content=twice, headers=headers), 422, "INVALID_REQUEST")
    old = '{"name": "x", "name": "y"}'
    is_problem(await api.post("/api/user/start-test", content=old, headers=headers), 422, "INVALID_REQUEST")


async def test_a_parameter_nobody_reads_is_refused(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    problem = is_problem(await api.get("/api/v1/admin/purchases", params={"studnet": "x"}), 422, "INVALID_REQUEST")
    assert problem["errors"][0]["loc"] == ["query", "studnet"]
    is_problem(await api.get(COINS, params={"limit": "5"}), 422, "INVALID_REQUEST")
    assert (await api.get("/api/v1/admin/purchases", params={"student": "student-1"})).status_code == 200
    assert (await api.get("/api/user/available-tests", params={"x": "1"}, headers=bearer("student", "student-1"))).status_code == 200  # fmt: skip


async def test_the_documentation_needs_nobody_elses_server(settings: Settings) -> None:
    async with booted(settings) as api:
        page = (await api.get("/docs")).text
        assert "https://" not in page
        for path in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json"):
            assert path in page
            assert len((await api.get(path)).content) > 100_000


@pytest.mark.parametrize(("said", "shown"), [({}, True), ({"api_docs": False}, False)])
def test_documentation_is_shown_where_it_is_wanted(settings: Settings, said: dict[str, bool], shown: bool) -> None:
    assert settings.with_values(**said).shows_docs is shown


async def test_people_are_shown_no_regular_expressions(api: httpx2.AsyncClient) -> None:
    problem = is_problem(await api.get("/api/v1/purchases/none"), 422, "INVALID_REQUEST")
    assert problem["detail"].endswith("does not have the form that is asked for")
    assert "^" not in problem["detail"]


@pytest.mark.parametrize("public", [None, "https://api.example.com/shop/"])
async def test_the_type_of_a_problem_is_where_it_is_explained_to_everybody_in_production_too(
    settings: Settings, public: str | None
) -> None:
    async with booted(settings.with_values(api_public_url=public, api_docs=False)) as api:
        del api.headers["authorization"]
        api.event_hooks = {}
        told = await api.get(COINS)
        base = "https://api.example.com/shop" if public else "http://127.0.0.1:8000"
        assert told.json()["type"] == f"{base}/problems/UNAUTHENTICATED"
        page = await api.get("/problems/UNAUTHENTICATED")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "401 Unauthorized" in page.text
        assert "Get a new token" in page.text
        assert (await api.get("/problems/NO_SUCH_CODE")).status_code == 401, "public are those that exist"
        assert (await api.get("/problems/NO_SUCH_CODE", headers=bearer())).status_code == 404
