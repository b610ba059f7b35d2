"""Bad input gets a 4xx problem with a code, nothing stored; what the framework answers by itself included."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from api.app import create_app
from api.http.openapi_examples import CASE, PURCHASE, PURCHASE_ROW
from api.http.who_may_call import POLICY
from api.lessons.bodies import StudentLessonsAnswer
from api.operators.case import CaseFile
from api.purchases.list_rows import PurchaseRow
from api.purchases.student_views import StudentPurchaseView
from api.purchases.views import PurchaseView
from runtime.settings import Settings
from tests.api.conftest import booted, is_problem
from tests.build import student, value
from tests.tokens import bearer

PURCHASES = "/api/v1/purchases"
ACT = "/api/v1/admin/purchases/purchase:pay-1:1/cancel"
GOOD_ACT = {"reason": "why", "requestKey": "k"}

WRONG_STARTS: list[Any] = [
    None, 1, True, "pay-1", [], {}, [{"paymentId": "pay-1"}], {"paymentId": None}, {"paymentId": 1},
    {"paymentId": True}, {"paymentId": ["pay-1"]}, {"paymentId": ""}, {"paymentId": "a" * 65}, {"paymentId": "pay 1"},
    {"paymentId": "pay\u00001"}, {"paymentId": "pay-1\n"}, {"paymentId": "päy"}, {"paymentId": "'; DROP TABLE payments"},
    {"paymentId": "pay-1", "studentId": "student-1"}, {"payment_id": "pay-1"}, {"paymentId": "pay-1", "\u0000": 1},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG_STARTS, ids=ascii)
async def test_refuses_to_start(api: httpx2.AsyncClient, engine: Engine, body: Any) -> None:
    is_problem(await api.post(PURCHASES, json=body), 422, "INVALID_REQUEST")
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"paymentId": "pay-1"',
        b"\xff\xfe",
        b'{"paymentId": "\xff"}',
        b"[" * 60_000,
        b'{"a":' * 9_000,
        b"NaN",
    ],
    ids=lambda content: ascii(content[:20]),
)
async def test_broken_json_is_422_and_403_to_who_may_not_even_ask(api: httpx2.AsyncClient, content: bytes) -> None:
    answer = await api.post(PURCHASES, content=content, headers={"content-type": "application/json"})
    is_problem(answer, 422, "INVALID_REQUEST")
    stranger = {"content-type": "application/json"} | bearer("support")
    is_problem(await api.post(PURCHASES, content=content, headers=stranger), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    "content", [rb'{"paymentId": "\ud800"}', rb'{"\ud800": 1}', rb'{"paymentId": "\u0000"}'], ids=ascii
)
async def test_text_that_cannot_be_stored_is_422(api: httpx2.AsyncClient, content: bytes) -> None:
    answer = await api.post(PURCHASES, content=content, headers={"content-type": "application/json"})
    is_problem(answer, 422, "INVALID_REQUEST")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
async def test_another_content_type_is_415(api: httpx2.AsyncClient, content_type: str) -> None:
    answer = await api.post(PURCHASES, content=b'{"paymentId": "pay-1"}', headers={"content-type": content_type})
    is_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_body_of_1_mb_is_413_declared_or_streamed(api: httpx2.AsyncClient) -> None:
    big = b'{"paymentId": "' + b"a" * 1_000_000 + b'"}'

    async def stream() -> Any:
        for at in range(0, len(big), 10_000):
            yield big[at : at + 10_000]

    for content in (big, stream()):
        answer = await api.post(PURCHASES, content=content, headers={"content-type": "application/json"})
        is_problem(answer, 413, "BODY_TOO_LARGE")


async def test_a_body_of_exactly_the_limit_is_read(api: httpx2.AsyncClient) -> None:
    start, end = b'{"paymentId": "', b'"}'
    body = start + b"a" * (64 * 1024 - len(start) - len(end)) + end
    for content, code, status in ((body, "INVALID_REQUEST", 422), (body + b" ", "BODY_TOO_LARGE", 413)):
        answer = await api.post(PURCHASES, content=content, headers={"content-type": "application/json"})
        is_problem(answer, status, code)


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/purchase", "/api/v1/purchases/", "/api/v2/purchases", "/api/v1/a%00b", "/%2e%2e/x"]
)
async def test_an_unknown_route_is_404(api: httpx2.AsyncClient, path: str) -> None:
    is_problem(await api.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", PURCHASES, "POST"),
        ("GET", PURCHASES, "POST"),
        ("PATCH", PURCHASES, "POST"),
        ("POST", "/readyz", "GET, HEAD"),
    ],
)
async def test_the_wrong_method_is_405_and_names_the_right_ones(
    api: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    is_problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "purchase",
    [
        "1",
        "pay-1",
        "not-a-uuid",
        "purchase:",
        "purchase:a%00b",
        "%00",
        "a" * 300,
        "purchase:" + "a" * 501,
        "%F0%9F%90%B1",
    ],
)
async def test_a_malformed_purchase_id_is_422(api: httpx2.AsyncClient, purchase: str) -> None:
    is_problem(await api.get(f"{PURCHASES}/{purchase}"), 422, "INVALID_REQUEST")
    is_problem(await api.post(f"/api/v1/admin/purchases/{purchase}/cancel", json=GOOD_ACT), 422, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": ""}, {"reason": "   "}, {"reason": None}, {"reason": "a" * 501}, {"reason": "a\u0000b"}, {"reason": 1},
        {"requestKey": ""}, {"requestKey": None}, {"requestKey": "k" * 129}, {"requestKey": 7}, {"requestKey": "a\u0007"},
        {"actor": "ann"}, {"actor": None}, {"more": 1},
    ],
    ids=ascii,
)  # fmt: skip
async def test_an_act_without_reason_or_key_or_with_an_actor_is_422(
    api: httpx2.AsyncClient, wrong: dict[str, Any]
) -> None:
    is_problem(await api.post(ACT, json={**GOOD_ACT, **wrong}), 422, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "ending=lost",
        "attention=no'",
        "student=a%09b",
        "student=me",
        "payment=%00",
        "code=x",
        "more=1",
    ],
)
async def test_a_wrong_filter_is_422(api: httpx2.AsyncClient, query: str) -> None:
    is_problem(await api.get(f"/api/v1/admin/purchases?{query}"), 422, "INVALID_REQUEST")


@pytest.mark.parametrize("cursor", ["x", "eHg=", "MjAyNi0xMS0yMXxh", "%00", "ä"])
async def test_a_cursor_that_is_not_ours_is_422(api: httpx2.AsyncClient, cursor: str) -> None:
    is_problem(await api.get("/api/v1/admin/purchases", params={"cursor": cursor}), 422, "INVALID_CURSOR")


PROFILE = {"timezone": "Europe/London", "latitude": 51.5, "longitude": -0.1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Mars/Base"}, {"timezone": ""}, {"timezone": None}, {"timezone": "../etc/passwd"}, {"latitude": 91},
        {"longitude": -181}, {"latitude": "51"}, {"latitude": True}, {"latitude": None}, {"latitude": 0, "longitude": 0},
        {"timezone": "Europe/London\u0000"}, {"more": 1},
    ],
    ids=ascii,
)  # fmt: skip
async def test_a_profile_that_is_no_place_is_422(
    api: httpx2.AsyncClient, engine: Engine, wrong: dict[str, Any]
) -> None:
    student(engine, timezone=None, latitude=None, longitude=None)
    answer = await api.put("/api/v1/students/student-1/profile", json={**PROFILE, **wrong})
    is_problem(answer, 422, "INVALID_REQUEST")
    assert value(engine, "SELECT timezone FROM students") is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_a_coordinate_that_is_no_number_is_422(api: httpx2.AsyncClient, number: str) -> None:
    content = f'{{"timezone": "Europe/London", "latitude": {number}, "longitude": 1}}'
    answer = await api.put(
        "/api/v1/students/student-1/profile", content=content, headers={"content-type": "application/json"}
    )
    is_problem(answer, 422, "INVALID_REQUEST")


async def test_a_bug_is_a_500_problem_that_tells_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(settings)
    monkeypatch.setitem(POLICY, "broken", {"admin": "any"})

    async def broken() -> None:
        raise RuntimeError("the password is swordfish")

    app.add_api_route("/broken", broken)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://api", headers=bearer()) as client,
    ):
        answer = await client.get("/broken")
    is_problem(answer, 500, "INTERNAL_ERROR")
    assert "swordfish" not in answer.text


async def test_every_operation_is_documented_with_its_problems_and_examples(settings: Settings) -> None:
    async with booted(settings) as client:
        document = (await client.get("/openapi.json")).json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    operations = {(path, verb): operation for path, verbs in paths.items() for verb, operation in verbs.items()}
    assert ("/api/v1/purchases", "post") in operations
    for (path, verb), operation in operations.items():
        assert operation.get("summary"), path
        assert operation.get("description"), path
        good = next(status for status in operation["responses"] if status.startswith("2"))
        shapes = [operation["responses"][good]] if good != "204" else []  # which has no body to show
        shapes += [operation["requestBody"]] if "requestBody" in operation else []
        for shape in shapes:
            if told := [kind for kind in shape["content"] if kind.startswith("text/")]:
                assert shape["content"][told[0]]["example"], (path, verb)
                continue
            schema = shape["content"]["application/json"]["schema"]
            for each in schema.get("anyOf", [schema]):  # staff and students are answered differently
                name = each["$ref"].rpartition("/")[2]
                assert schemas[name]["examples"], (path, verb, name)
        if path.startswith("/api"):
            assert "application/problem+json" in operation["responses"]["503"]["content"], (path, verb)
            assert "422" in operation["responses"], (path, verb)


def test_the_examples_have_the_documented_shape() -> None:
    views = [StudentPurchaseView, StudentLessonsAnswer]
    shown = [(view, view.model_config["json_schema_extra"]["examples"][0]) for view in views]
    for view, example in (*shown, (PurchaseView, PURCHASE), (PurchaseRow, PURCHASE_ROW), (CaseFile, CASE)):
        assert view.model_validate(example).model_dump(by_alias=True).keys() == example.keys()
