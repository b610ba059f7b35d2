"""`coursaga purchases ...` against the API over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from sqlalchemy import Engine
from temporalio.client import Client

from api.app import create_app
from cli.api_client import Api, ApiRefused, ApiUnreachable, open_api
from cli.operators import acts, create, purchases
from runtime.dev_auth import dev_key
from runtime.settings import Settings
from runtime.state import Home, Running
from tests.api.conftest import NOBODY, end_runs, fresh, settings_for
from tests.build import item, pay, rows, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.waiting import eventually
from worker import make_worker


@pytest.fixture
def at(database_url: str, temporal_address: str, tmp_path: Path) -> Settings:
    plain = settings_for(database_url, temporal_address, f"cli-{uuid4()}")
    return plain.with_values(coursaga_home=tmp_path / "home", dev_auth=True)


@pytest_asyncio.fixture(loop_scope="session")
async def serving(at: Settings, temporal: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The API on a free port, where the commands find it as that of the stack of COURSAGA_HOME."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("COURSAGA_HOME", str(at.coursaga_home))
        home = Home(at.coursaga_home)
        home.lock()
        dev_key(at.coursaga_home)
        home.write({}, Running(0, url, "", None, None, "", "", "", {}))
        server = uvicorn.Server(uvicorn.Config(create_app(at), log_config=None, access_log=False))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        async with open_api(patient=True) as api:
            await api.get("/healthz")
        yield url
        server.should_exit = True
        await running
        home.unlock()
    await end_runs(temporal, at.task_queue)


@pytest_asyncio.fixture(loop_scope="session")
async def working(temporal: Client, at: Settings, engine: Engine, fake_provider: FakeProvider) -> AsyncIterator[None]:
    async with make_worker(temporal, at, engine, fake_provider):
        yield


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command with --json printed: one document and nothing else. The worker's logs share this stdout."""
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line in ("{", "[", "[]"))
    last = max(number for number, line in enumerate(lines) if line in ("}", "]", "[]"))
    return json.loads("\n".join(lines[first : last + 1]))


async def listed(capsys: pytest.CaptureFixture[str], **filters: Any) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert await purchases.list_purchases(json=True, **filters) == 0
    return printed(capsys)


async def until(capsys: pytest.CaptureFixture[str], payment: str, ending: str) -> dict[str, Any]:
    return (await eventually(lambda: listed(capsys, payment=payment), lambda seen: seen[0]["ending"] == ending))[0]


@pytest.mark.usefixtures("serving")
async def test_start_all_starts_every_payment_once(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    student(engine)
    for number in range(40):
        items = (
            (("course", "course-piano"), ("subject", "subject-physics"))
            if number == 7
            else (("course", "course-piano"),)
        )
        pay(engine, fake_provider, f"{fresh()}-{number}", items=items)
    assert await purchases.start(all_payments=True, json=True) == 0
    assert printed(capsys) == {"started": 41, "already": 0, "failed": 0, "failures": []}
    before = rows(engine, "SELECT * FROM purchase_starts ORDER BY purchase_id")
    assert await purchases.start(all_payments=True, json=True) == 0
    assert printed(capsys)["started"] == 0
    assert rows(engine, "SELECT * FROM purchase_starts ORDER BY purchase_id") == before
    assert len(await listed(capsys)) == 41


@pytest.mark.usefixtures("serving")
async def test_start_goes_on_when_one_payment_fails_and_exits_with_1(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    student(engine)
    known = pay(engine, fake_provider, fresh())
    assert await purchases.start("nobody", known, json=True) == 1
    said = printed(capsys)
    assert (said["started"], said["failed"]) == (1, 1)
    assert said["failures"][0]["code"] == "PAYMENT_NOT_FOUND"


@pytest.mark.usefixtures("serving", "working")
async def test_start_takes_a_purchase_whose_run_was_terminated(
    engine: Engine, fake_provider: FakeProvider, temporal: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    student(engine)
    item(engine)
    payment = pay(engine, fake_provider, fresh())
    assert await purchases.start(payment) == 0
    row = await until(capsys, payment, "attention")
    await temporal.get_workflow_handle(row["workflowId"]).terminate("by hand")
    trainer(engine)
    for number in (1, 0):
        capsys.readouterr()
        assert await purchases.start(row["workflowId"], json=True) == 0
        assert printed(capsys) == {"started": number, "already": 1 - number, "failed": 0, "failures": []}
    assert (await until(capsys, payment, "completed"))["sessions"] == 10


@pytest.mark.usefixtures("serving", "working")
async def test_lists_shows_and_acts_on_a_purchase(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    student(engine)
    item(engine)
    payment = pay(engine, fake_provider, fresh())
    assert await purchases.start(payment) == 0
    row = await until(capsys, payment, "attention")
    assert {"workflowId", "paymentId", "line", "studentId", "ending", "code", "refunded", "sessionCount", "sessions",
            "sessionCountSource", "firstLocal", "lastLocal", "minutes", "timezone", "testCards"} <= row.keys()  # fmt: skip
    trainer(engine)
    assert await acts.retry_now(row["workflowId"], reason="a trainer came", request_key="k", json=True) == 0
    assert printed(capsys)["requestKey"] == "k"
    assert (await until(capsys, payment, "completed"))["sessions"] == 10
    assert await purchases.show(row["workflowId"], json=True) == 0
    assert printed(capsys)["trainer"]["trainerId"] == "trainer-1"
    assert await purchases.show(row["id"]) == 0
    told = capsys.readouterr().out
    assert "completed" in told
    assert "create_sessions" in told
    assert await purchases.list_purchases() == 0
    assert "1 purchases: 1 completed" in capsys.readouterr().out


@pytest.mark.usefixtures("serving", "working")
async def test_cancels(engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    student(engine)
    item(engine)
    payment = pay(engine, fake_provider, fresh())
    await purchases.start(payment)
    row = await until(capsys, payment, "attention")
    assert await acts.cancel(row["id"], reason="the student asked", actor="ann") == 0
    assert (await until(capsys, payment, "cancelled"))["refunded"] is True


@pytest.mark.usefixtures("serving")
async def test_a_problem_says_its_code_and_exits_as_it_must() -> None:
    with pytest.raises(ApiRefused, match="PURCHASE_NOT_FOUND: No purchase") as unknown:
        await purchases.show("purchase:nobody:1")
    assert unknown.value.exit_code == 1
    with pytest.raises(ApiRefused, match="INVALID_REQUEST") as malformed:
        await purchases.show("x")
    assert malformed.value.exit_code == 2


async def test_start_wants_payments_or_all_but_not_both() -> None:
    for ids, everything in (((), False), (("pay-1",), True)):
        with pytest.raises(acts.WrongUsage) as wrong:
            await purchases.start(*ids, all_payments=everything)
        assert wrong.value.exit_code == 2


def test_without_a_stack_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("API_URL", raising=False)
    monkeypatch.setenv("COURSAGA_HOME", str(tmp_path))
    with pytest.raises(ApiUnreachable, match=r"coursaga up.*API_URL") as nowhere:
        open_api()
    assert nowhere.value.exit_code == 3


async def test_an_api_that_does_not_answer_exits_with_3() -> None:
    async with Api(f"http://{NOBODY}", str) as api:
        with pytest.raises(ApiUnreachable, match=NOBODY) as silent:
            await api.get("/healthz")
    assert silent.value.exit_code == 3


async def test_waits_for_a_server_that_is_coming_back_only_when_patient() -> None:
    answers = iter([503, 503, 200])

    async def answer(_: httpx2.Request) -> httpx2.Response:
        problem = {"code": "TEMPORAL_UNAVAILABLE", "detail": "away", "retryable": True}
        status = next(answers)
        return httpx2.Response(status, json={} if status == 200 else problem)

    async with Api("http://api", str, transport=httpx2.MockTransport(answer)) as hasty:
        with pytest.raises(ApiRefused, match="try again in a moment") as away:
            await hasty.get("/x")
        assert away.value.exit_code == 3
    async with Api("http://api", str, patient=True, transport=httpx2.MockTransport(answer)) as patient:
        assert await patient.get("/x") == {}


@pytest.mark.usefixtures("serving", "working")
async def test_create_gives_a_course_by_hand_once_per_key(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """Mission row 58: for fixes, tests and scripts, by the same rules as over HTTP."""
    student(engine)
    item(engine)
    given: dict[str, Any] = {
        "student": "student-1",
        "course": "course-piano",
        "tier": 20,
        "reason": "a fix",
        "actor": "bob",
    }
    with pytest.raises(ApiRefused, match=r"METADATA_INCOMPLETE.*timeSlot") as refused:
        await create.create(**given, details=["startDate=2026-12-01"])
    assert refused.value.exit_code == 2
    given |= {"details": ["startDate=2026-12-01", "timeSlot=18:00"], "request_key": f"key-{uuid4()}"}
    for message in ("Purchase created successfully", "Purchase already exists"):
        assert await create.create(**given, json=True) == 0
        told = printed(capsys)
        assert (told["message"], told["data"]["workflowId"]) == (message, f"purchase:manual:{given['request_key']}")
    assert await create.create(**given) == 0
    assert "Purchase already exists" in capsys.readouterr().out
    assert rows(engine, "SELECT actor, reason FROM purchase_requests") == [("bob", "a fix")]
    assert rows(engine, "SELECT session_count FROM student_course_purchases") == [(20,)]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    "filters", [{"code": "NO_TRAINER"}, {"attention": "all"}, {"stage": "create_session"}], ids=str
)
async def test_a_mistyped_filter_is_usage(filters: dict[str, str]) -> None:
    with pytest.raises(ApiRefused, match="is none of") as refused:
        await purchases.list_purchases(**filters)
    assert refused.value.exit_code == 2
