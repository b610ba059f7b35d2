"""What one process takes on: who asks too much is refused early and told when to come again, others are served."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import Engine, text

from application.request_turns import MAX_OPEN, NoTurn, Turns, only_waits, waiting
from runtime.child_processes import Child, free_ports, listens
from runtime.settings import Settings
from tests.api.conftest import booted, fresh, is_problem, serving
from tests.api.operators.test_verbs import act
from tests.api.purchases.test_progress import watching
from tests.build import item, pay, run, start, student, value
from tests.gateways.in_memory import FakeProvider
from tests.roles import owner_of
from tests.tokens import bearer
from tests.waiting import eventually

COINS = "/api/v1/students/student-1/coins"
TOP_UP = {"coins": 1, "reason": "a test", "requestKey": "k1"}


@asynccontextmanager
async def held_up(engine: Engine) -> AsyncIterator[None]:
    """Whoever writes to a student waits."""
    with owner_of(engine).begin() as connection:
        connection.execute(text("SELECT FROM students FOR UPDATE"))
        yield


async def test_who_asks_too_often_is_told_when_to_come_again_and_others_are_served(
    settings: Settings, engine: Engine
) -> None:
    student(engine)
    async with booted(settings.with_values(rate_limit_staff="2/hour", rate_limit_student="1/hour")) as api:
        for _ in range(2):
            assert (await api.post(COINS, json=TOP_UP)).status_code == 200
        refused = await api.post(COINS, json={**TOP_UP, "requestKey": "k2"})
        problem = is_problem(refused, 429, "TOO_MANY_REQUESTS")
        assert problem["retryable"] is True
        assert 3590 < int(refused.headers["retry-after"]) <= 3600
        assert "2 per 1 hour" in problem["detail"]
        assert (await api.get(COINS, headers=bearer("support", "ann"))).status_code == 200  # another caller
        assert (await api.get(COINS, headers=bearer("student", "student-1"))).status_code == 200
        is_problem(await api.get(COINS, headers=bearer("student", "student-1")), 429, "TOO_MANY_REQUESTS")
        is_problem(await api.get(COINS, headers={"Authorization": "Bearer x"}), 401, "UNAUTHENTICATED")
        for path in ("/healthz", "/metrics", "/openapi.json"):
            assert (await api.get(path)).status_code == 200
    assert value(engine, "SELECT count(*) FROM coin_movements WHERE kind = 'top_up'") == 1


async def test_what_is_too_much_at_a_time_is_refused_early_and_the_process_says_how_it_is(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    student(engine)
    monkeypatch.setattr("application.request_turns.SLOW", 60)
    async with booted(settings.with_values(api_work_at_once=2)) as api:
        async with held_up(engine):
            busy = [asyncio.create_task(api.post(COINS, json={**TOP_UP, "requestKey": key})) for key in ("a", "b")]
            locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            await eventually(lambda: value(engine, locked) >= 2)
            refused = await api.get(COINS)
            assert is_problem(refused, 503, "OVERLOADED")["retryable"] is True
            assert "retry-after" in refused.headers
            assert (await api.get("/healthz")).status_code == 200
            assert (await api.get("/readyz")).json()["code"] == "NOT_READY"  # there is no worker: it looked
        assert [answer.status_code for answer in await asyncio.gather(*busy)] == [200, 200]
        assert (await api.get(COINS)).json()["balance"] == 2


async def test_who_waits_long_for_a_lock_or_a_server_keeps_nobody_waiting(settings: Settings, engine: Engine) -> None:
    student(engine)
    async with booted(settings.with_values(api_work_at_once=1)) as api:
        async with held_up(engine):
            busy = asyncio.create_task(api.post(COINS, json=TOP_UP))
            while (await api.get(COINS)).status_code != 200:
                pass
            assert not busy.done()
        assert (await busy).status_code == 200


async def test_who_waits_for_somebody_else_keeps_nobody_waiting(
    settings: Settings, engine: Engine, fake_provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.request_turns.PATIENCE", 60)  # a slow machine is no refusal
    monkeypatch.setattr("application.request_turns.PATIENCE_WHEN_BUSY", 60)
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    async with booted(settings.with_values(api_work_at_once=1)) as api:
        gift = {"studentId": "student-1", "courseId": "course-piano", "reason": "a test"}
        gift |= {"metadata": {"startDate": "2026-12-01", "timeSlot": "18:00"}}
        headers = {"Idempotency-Key": fresh(), "Prefer": "wait=30"}
        waits = asyncio.create_task(api.post("/api/v1/purchases", json=gift, headers=headers))
        acts = asyncio.create_task(act(api, purchase, "retry_now"))  # nobody takes it up
        await eventually(lambda: value(engine, "SELECT count(*) FROM purchase_starts") >= 2)
        for _ in range(20):
            assert (await api.get(COINS)).status_code == 200
        assert not waits.done()
        run(engine, "UPDATE purchase_starts SET ending = 'cancelled', ended_at = now() WHERE payment_id IS NULL")
        is_problem(await waits, 409, "CANCELLED")
        await acts


async def test_streams_are_bounded_and_end_with_the_token(
    settings: Settings, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    async with serving(settings.with_values(auth_leeway=0, api_work_at_once=2)) as api:
        path = f"/api/v1/purchases/{purchase}/events"
        streams = [api.build_request("GET", path) for _ in range(20)]
        opened = [await api.send(each, stream=True) for each in streams]
        assert {answer.status_code for answer in opened} == {200}
        is_problem(await api.get(path), 429, "TOO_MANY_STREAMS")
        assert (await api.get(COINS)).status_code == 200  # they keep no turn
        await opened[0].aclose()
        while (again := await api.send(api.build_request("GET", path), stream=True)).status_code == 429:
            await again.aclose()  # the server hears of it in a moment
        for answer in [*opened[1:], again]:
            await answer.aclose()
        soon = bearer("support", "sam", exp=int(time.time()) + 2)
        async with watching(api, purchase, **soon) as answer:
            async for _ in answer.aiter_bytes():
                pass  # until it ends by itself


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"GET /healthz HTTP/1.1\r\nHost: api\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\nGET /healthz HTT",
    ],
    ids=["nothing", "no end of headers", "half of a second one"],
)  # fmt: skip
async def test_a_connection_on_which_no_request_comes_is_closed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("api.http.server.SECONDS", 1.0)
    async with serving(settings) as api:
        reader, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
        writer.write(sent)
        heard = await reader.read()  # to its end
        assert heard.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n")
        writer.close()
        assert (await api.get("/healthz")).status_code == 200


async def test_a_body_that_does_not_come_is_refused_in_time(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    student(engine)
    monkeypatch.setattr("api.app.BODY_SECONDS", 1.0)
    async with serving(settings.with_values(api_work_at_once=1)) as api:
        slow = [await asyncio.open_connection(api.base_url.host, api.base_url.port) for _ in range(3)]
        head = f"POST {COINS} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"
        for _, writer in slow:
            writer.write(f"{head}Authorization: {bearer()['Authorization']}\r\n\r\n{{".encode())
        assert (await api.get(COINS)).status_code == 200  # they keep nobody waiting
        for reader, writer in slow:
            answer = await reader.read()  # to its end
            assert answer.startswith(b"HTTP/1.1 408")
            assert b'"code":"REQUEST_TIMEOUT"' in answer
            writer.close()


@asynccontextmanager
async def process_of(settings: Settings, folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """The API in a process of its own."""
    port = free_ports({"API_PORT": 0})["API_PORT"]
    said = {"api_port": port, "api_work_at_once": 3, "provider_url": "http://127.0.0.1:1"}
    told = settings.with_values(**said).environment()
    child = Child("api", [sys.executable, "-m", "api.app"], folder / "log", env={**os.environ, **told})
    child.start()
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=bearer(), timeout=60) as client:
            await asyncio.to_thread(child.wait_until, lambda: listens(port), 60)
            while (await client.get("/readyz")).status_code != 200:
                pass  # the worker is seen in a moment
            yield client
    finally:
        child.stop()


@pytest.mark.parametrize(
    ("streams", "half_sent"), [(40, 10), pytest.param(1_500, 300, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
@pytest.mark.usefixtures("worker")
async def test_a_crowd_keeps_no_process_from_being_ready(
    settings: Settings, engine: Engine, fake_provider: FakeProvider, tmp_path: Path, streams: int, half_sent: int
) -> None:
    """Streams of one student, and requests that never end, all at once."""
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    path, me = f"/api/v1/purchases/{purchase}/events", bearer("student", "student-1")
    async with process_of(settings, tmp_path) as api, AsyncExitStack() as crowd:
        for number in range(half_sent):
            _, writer = await asyncio.open_connection(api.base_url.host, api.base_url.port)
            crowd.callback(writer.close)
            writer.write(f"GET {path}?n={number} HTTP/1.1\r\nHost: api\r\nAuthorization: ".encode())
        many = httpx2.Limits(max_connections=None)
        client = await crowd.enter_async_context(
            httpx2.AsyncClient(base_url=api.base_url, headers=me, timeout=60, limits=many)
        )
        asked = [client.send(client.build_request("GET", path), stream=True) for _ in range(streams)]
        answers = asyncio.gather(*asked)
        ready = set[str]()
        while not answers.done():
            ready.add((await api.get("/readyz")).text)
            await asyncio.wait([answers], timeout=0.1)
        told = Counter(answer.status_code for answer in await answers)
        ready.add((await api.get("/readyz")).text)
        assert all('"ready":true' in each for each in ready), ready
        assert 1 <= told[200] <= 20, told  # the rest is refused early
        assert set(told) <= {200, 429, 503}, told
        assert (await api.get(COINS)).status_code == 200
        for answer in await answers:
            await answer.aclose()


async def test_a_turn_is_given_back_whatever_becomes_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.request_turns.SLOW", 60)
    turns = Turns(1)

    async def waits() -> None:
        async with waiting():
            await asyncio.sleep(0)

    async with turns.work():
        await asyncio.gather(waits(), waits(), waits())
        left_over = asyncio.create_task(waits())
    await left_over
    with pytest.raises(ValueError, match="a bug"):
        async with turns.work(), waiting():
            raise ValueError("a bug")
    async with turns.work():
        only_waits()
        async with turns.work():
            with pytest.raises(NoTurn):
                async with turns.work():
                    pass
    async with turns.work():
        pass


async def test_there_is_a_bound_on_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_OPEN >= 500
    monkeypatch.setattr("application.request_turns.MAX_OPEN", 1)
    turns = Turns(5)
    async with turns.work():
        with pytest.raises(NoTurn):
            async with turns.work():
                pass
