"""Watching a purchase over real HTTP: every change once and in order, from where one left off (rows 18, 89)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine, text

from runtime.settings import Settings
from tests.api.conftest import begin, fresh, is_problem, serving, shown, until
from tests.build import item, pay, rows, run, start, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from tests.waiting import eventually

LINES = [
    "confirm_payment",
    "create_purchase",
    "enroll",
    "assign_trainer",
    "approve_allocation",
    "create_sessions",
    "clear_cart",
]


@dataclass(frozen=True)
class Heard:
    """One server-sent event."""

    id: int
    event: str
    data: dict[str, Any]


async def heard(answer: httpx2.Response, last: str = "ended") -> list[Heard]:
    """What the stream tells, until the first event of this kind or its end."""
    found: list[Heard] = []
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
            continue
        if "id" in fields:
            found.append(Heard(int(fields["id"]), fields["event"], json.loads(fields["data"])))
            if found[-1].event == last:
                break
        fields = {}
    return found


@asynccontextmanager
async def watching(
    api: httpx2.AsyncClient, purchase: str, after: int | None = None, **headers: str
) -> AsyncIterator[httpx2.Response]:
    asked = {**headers, **({} if after is None else {"Last-Event-ID": str(after)})}
    async with api.stream("GET", f"/api/v1/purchases/{purchase}/events", headers=asked) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer


@pytest_asyncio.fixture(loop_scope="session")
async def served(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """In process an answer comes whole or not at all."""
    async with serving(settings) as client:
        yield client


@pytest.mark.usefixtures("worker", "api")
async def test_tells_every_change_once_in_order_and_what_is_told_is_true(
    served: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    trainer(engine)
    purchase = await begin(served, paid)
    async with watching(served, purchase) as answer:
        told = await heard(answer)
    assert [one.id for one in told] == list(range(1, len(told) + 1))
    assert (told[0].event, told[-1].event, told[-1].data["ending"]) == ("started", "ended", "completed")
    assert [one.data["step"] for one in told if one.event == "step"] == LINES
    assert (await shown(served, purchase))["sessions"]["count"] == 10
    async with watching(served, purchase, after=3) as answer:
        assert await heard(answer) == told[3:]
    again = await served.get(f"/api/v1/purchases/{purchase}/events", headers={"Last-Event-ID": str(told[-1].id)})
    assert (again.status_code, again.content) == (204, b"")


@pytest.mark.usefixtures("worker", "api")
async def test_a_watcher_sees_new_lessons_without_asking_again(
    served: httpx2.AsyncClient, paid: str, engine: Engine
) -> None:
    purchase = await begin(served, paid)
    await until(served, purchase, "attention")
    async with watching(served, purchase) as answer:
        before = await heard(answer, "attention")
    assert before[-1].data["code"] == "NO_TRAINER_AVAILABLE"
    async with watching(served, purchase, before[-1].id) as answer:
        trainer(engine)
        assert (await served.post("/api/v1/admin/purchases:wake")).status_code == 202
        after = await heard(answer)
    assert after[0].id == before[-1].id + 1
    assert ("create_sessions", "done") in [(one.data.get("step"), one.data.get("state")) for one in after]


@pytest.mark.usefixtures("api")
async def test_a_hundred_watchers_of_one_process_all_hear_it(
    served: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    mine, other = (pay(engine, fake_provider, fresh()) for _ in range(2))
    purchases = [start(engine, name).purchase_id for name in (mine, other)]
    ready = asyncio.Semaphore(0)

    async def watch(number: int) -> list[Heard]:
        async with watching(served, purchases[number % 2], **bearer("support", f"sam-{number // 20}")) as answer:
            ready.release()
            return await heard(answer)

    watchers = [asyncio.create_task(watch(number)) for number in range(100)]
    for _ in watchers:
        await ready.acquire()
    for purchase in purchases:
        run(
            engine,
            "UPDATE purchase_starts SET ending = 'cancelled', ended_at = now() WHERE purchase_id = :id",
            id=purchase,
        )
    for told in await asyncio.gather(*watchers):
        assert [(one.id, one.event) for one in told] == [(1, "started"), (2, "ended")]


@pytest.mark.usefixtures("api")
async def test_goes_on_after_the_database_cut_its_connections(
    served: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    async with watching(served, purchase) as answer:
        stream = asyncio.create_task(heard(answer))
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN purchase_progress' AND datname = current_database()"
        await eventually(lambda: rows(engine, cut)[0][0])  # until it listens
        run(
            engine,
            "UPDATE purchase_starts SET ending = 'cancelled', ended_at = now() WHERE purchase_id = :id",
            id=purchase,
        )
        assert [one.event for one in await stream] == ["started", "ended"]


async def begun(base: httpx2.URL, path: str, who: str) -> socket.socket:
    """The connection of a watcher who has been told something."""
    loop, watcher = asyncio.get_running_loop(), socket.socket()
    watcher.setblocking(False)
    await loop.sock_connect(watcher, (base.host, base.port))
    token = bearer("support", who)["Authorization"]
    await loop.sock_sendall(watcher, f"GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: {token}\r\n\r\n".encode())
    told = b""
    while b"event: started" not in told:
        piece = await loop.sock_recv(watcher, 4096)
        told += piece
        assert piece, told  # a connection that was closed would say nothing for ever
        assert b"HTTP/1.1 200" in told, told
    return watcher


@pytest.mark.usefixtures("api")
async def test_who_hangs_up_leaves_no_trace_on_the_connections_others_use(
    served: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    path = f"/api/v1/purchases/{purchase}/events"
    watchers: list[socket.socket] = []
    for person in range(15):  # as many of one as may come at once; more of them the API might ask to wait
        watchers += await asyncio.gather(*(begun(served.base_url, path, f"sam-{person}") for _ in range(20)))
    run(engine, "INSERT INTO purchase_steps VALUES (:id, 1, 'enroll', 'done', '{}', now())", id=purchase)
    for watcher in watchers:  # while what is new is read for all of them
        watcher.close()
    top_ups = [{"coins": 1, "reason": "a write", "requestKey": fresh()} for _ in range(40)]
    answers = await asyncio.gather(*(served.post("/api/v1/students/student-1/coins", json=it) for it in top_ups))
    assert [answer.status_code for answer in answers] == [200] * 40, answers[0].text


def test_numbers_have_no_gap_and_no_double_whoever_writes_at_once(engine: Engine, fake_provider: FakeProvider) -> None:
    student(engine)
    item(engine)
    purchase = start(engine, pay(engine, fake_provider, fresh())).purchase_id
    insert = text("INSERT INTO purchase_steps VALUES (:id, 1, :step, 'done', '{}', now())")
    with engine.connect() as one, engine.connect() as other:
        one.execute(insert, {"id": purchase, "step": "enroll"})
        other.execute(text("SET lock_timeout = '200ms'"))
        with pytest.raises(Exception, match="lock timeout"):  # it waits for who was first
            other.execute(insert, {"id": purchase, "step": "clear_cart"})
        other.rollback()
        one.commit()
        other.execute(insert, {"id": purchase, "step": "clear_cart"})
        other.commit()
    told = rows(engine, "SELECT number, kind, facts ->> 'step' FROM purchase_progress ORDER BY number")
    assert [tuple(row) for row in told] == [(1, "started", None), (2, "step", "enroll"), (3, "step", "clear_cart")]


async def test_only_the_owner_and_support_may_watch(api: httpx2.AsyncClient, engine: Engine, paid: str) -> None:
    purchase = start(engine, paid).purchase_id
    run(
        engine, "UPDATE purchase_starts SET ending = 'cancelled', ended_at = now() WHERE purchase_id = :id", id=purchase
    )
    path = f"/api/v1/purchases/{purchase}/events"
    for role, subject, status in (
        ("student", "student-1", 200),
        ("support", "sue", 200),
        ("student", "student-2", 404),
    ):
        answer = await api.get(path, headers=bearer(role, subject))
        assert answer.status_code == status, (role, subject, answer.text)
    is_problem(await api.get(f"/api/v1/purchases/purchase:{fresh()}:1/events"), 404, "PURCHASE_NOT_FOUND")
    is_problem(await api.get(path, headers={"Last-Event-ID": "x"}), 422, "INVALID_REQUEST")
