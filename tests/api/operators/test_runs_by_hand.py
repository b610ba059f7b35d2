"""Runs that somebody paused or closed from outside: seen everywhere, refused clearly, started again once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    PauseWorkflowExecutionRequest,
    UnpauseWorkflowExecutionRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from cli.doctor.check import WRONG
from cli.doctor.temporal import temporal as look_at_temporal
from cli.operators.case_view import command_of
from domain.ids import purchase_id_of
from runtime.settings import Settings
from tests.api.conftest import begin, end_runs, fresh, is_problem, shown, until
from tests.api.http.test_metrics import scraped
from tests.api.operators.test_case import case
from tests.api.operators.test_verbs import act
from tests.api.purchases.test_direct import ask
from tests.api.purchases.test_free import take
from tests.api.purchases.test_show_and_list import rows_of
from tests.build import item, pay, rows, run, start, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.waiting import eventually
from worker import make_worker
from workflows.attributes import NEEDS_ATTENTION

PURCHASES = "/api/v1/purchases"


@asynccontextmanager
async def paused(client: Client, workflow_id: str) -> AsyncGenerator[None]:
    """As the button of Temporal UI does."""
    said: dict[str, str] = {"namespace": client.namespace, "workflow_id": workflow_id, "identity": "bob"}
    await client.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(**said, reason="looks odd", request_id=str(uuid4()))
    )
    yield
    await client.workflow_service.unpause_workflow_execution(
        UnpauseWorkflowExecutionRequest(**said, reason="looked", request_id=str(uuid4()))
    )


async def terminated(client: Client, workflow_id: str) -> str:
    await client.get_workflow_handle(workflow_id).terminate("by hand")
    return workflow_id


async def forgotten(client: Client, workflow_id: str) -> None:
    """As after the retention of closed runs."""
    of = WorkflowExecution(workflow_id=workflow_id)
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=of)
    await client.workflow_service.delete_workflow_execution(request)
    with suppress(RPCError):
        # The server does it by and by; then there is nothing to describe, which raises.
        await eventually(client.get_workflow_handle(workflow_id).describe, lambda _: False)


async def listed(api: httpx2.AsyncClient, name: str, **filters: str) -> dict[str, Any]:
    """The payment's row in the list, once visibility has it there."""
    return (await eventually(lambda: rows_of(api, **filters), lambda seen: name in seen))[name]


async def start_again(api: httpx2.AsyncClient, **said: str) -> str:
    answer = await api.post(PURCHASES, json=said)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()["lines"][0]["state"]


@pytest.mark.usefixtures("worker")
async def test_a_paused_purchase_is_seen_everywhere_and_refuses_acts_until_it_is_unpaused(
    api: httpx2.AsyncClient, paid: str, temporal: Client, engine: Engine, settings: Settings
) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    async with paused(temporal, purchase):
        seen = await shown(api, purchase)
        assert (seen["ending"], seen["code"], seen["temporal"]) == ("attention", "PAUSED_BY_HAND", "paused")
        assert (seen["nextRetry"], seen["stage"]) == (None, "assign_trainer")
        assert "bob" not in json.dumps(seen), "a student reads this, too"
        told = await case(api, purchase)
        assert (told["code"], told["actions"]) == ("PAUSED_BY_HAND", [])
        assert "bob: looks odd" in told["cause"]
        assert "Unpause" in told["nextAction"]
        for filters in ({"attention": "any"}, {"attention": "PAUSED_BY_HAND"}, {"code": "PAUSED_BY_HAND"},
                        {"ending": "attention"}, {"attention": "NO_TRAINER_AVAILABLE"}, {}):  # fmt: skip
            assert (await listed(api, paid, **filters))["code"] == "PAUSED_BY_HAND"
        assert paid not in await rows_of(api, ending="running")
        assert (await scraped(api))[("coursaga_attention", "PAUSED_BY_HAND")] == 1
        for verb, more in (("retry_now", {}), ("cancel", {}), ("amend", {"changes": {"timeSlot": "19:00"}})):
            refused = is_problem(await act(api, purchase, verb, verb, **more), 409, "PAUSED_BY_HAND")
            assert "workflow unpause" in refused["detail"]
        [doctors] = [check for check in await look_at_temporal(settings) if check.name == "paused runs"]
        assert (doctors.state, "unpause" in doctors.remedy) == (WRONG, True)
        bulk = {"verb": "retry_now", "filter": {"attention": "any", "payment": paid}, "reason": "r", "requestKey": "b"}
        assert (await api.post("/api/v1/admin/purchases:bulk", json=bulk)).json()["matched"] == 1
        assert await start_again(api, paymentId=paid) == "running"
    trainer(engine)
    assert (await act(api, purchase, "retry_now")).status_code == 200
    await until(api, purchase, "completed")


@pytest.mark.usefixtures("worker")
async def test_a_terminated_purchase_is_seen_and_started_again_once_by_twenty_doors_and_does_nothing_twice(
    api: httpx2.AsyncClient, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine, coins=500)
    item(engine)
    paid = pay(engine, fake_provider, fresh(), coins=200)
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    await terminated(temporal, purchase)
    seen = await shown(api, purchase)
    assert (seen["ending"], seen["code"], seen["temporal"]) == ("attention", "TERMINATED_BY_HAND", "terminated")
    for filters in ({"attention": "any"}, {"attention": "TERMINATED_BY_HAND"}, {"ending": "attention"},
                    {"attention": "any", "student": "student-1", "payment": paid}, {}):  # fmt: skip
        row = await listed(api, paid, **filters)
        assert (row["ending"], row["code"]) == ("attention", "TERMINATED_BY_HAND")
    assert paid not in await rows_of(api, ending="running")
    assert paid not in await rows_of(api, attention="NO_TRAINER_AVAILABLE")
    assert (await scraped(api))[("coursaga_attention", "TERMINATED_BY_HAND")] == 1
    refused = is_problem(await act(api, purchase, "cancel"), 409, "WRONG_STAGE")
    assert all(words in refused["detail"] for words in ("start it again", paid, purchase_id_of(purchase), PURCHASES))
    (offered,) = (await case(api, purchase))["actions"]
    assert command_of(purchase, offered) == f"coursaga purchases start {purchase}"
    doors = [{"paymentId": paid}, offered["body"]] * 10
    answers = await asyncio.gather(*(start_again(api, **said) for said in doors))
    assert sorted(answers) == ["running"] * 19 + ["started"]
    await until(api, purchase, "attention")
    assert (await listed(api, paid, attention="NO_TRAINER_AVAILABLE"))["code"] == "NO_TRAINER_AVAILABLE"
    trainer(engine)
    assert (await act(api, purchase, "retry_now", "k2")).status_code == 200
    done = await until(api, purchase, "completed")
    assert (done["sessions"]["count"], done["code"]) == (10, None)
    assert rows(engine, "SELECT kind, coins FROM coin_movements WHERE kind <> 'opening'") == [("redemption", -200)]
    assert value(engine, "SELECT count(*) FROM student_course_purchases") == 1
    assert (await temporal.count_workflows(f"PaymentId = '{paid}'")).count == 2
    assert await start_again(api, **offered["body"]) == "completed"


@pytest.mark.parametrize(
    ("decided", "undone", "left", "ending"),
    [
        ("cancel", False, {"refund": "none"}, ("cancelled", "CANCELLED", False)),
        ("cancel", True, {"refund": "full"}, ("cancelled", "CANCELLED", True)),
        ("", True, {}, ("refused", "ALREADY_MADE_WHOLE", True)),
        ("skip_step", False, {"step": "assign_trainer"}, ("completed", None, False)),
    ],
    ids=["cancel stored", "cancel begun", "rollback begun", "trainer skipped"],
)
async def test_what_a_terminated_run_had_decided_is_finished(
    api: httpx2.AsyncClient, settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider, paid: str,
    decided: str, undone: bool, left: dict[str, Any], ending: tuple[str, str | None, bool],
) -> None:  # fmt: skip
    purchase = await begin(api, paid)
    of = {"id": purchase_id_of(purchase)}
    if decided:
        run(engine, "INSERT INTO operator_decisions (purchase_id, request_key, attempt, verb, values, actor, reason, decided_at)"
            " VALUES (:id, 'k', 1, :verb, CAST(:left AS jsonb), 'ann', 'why', now())", verb=decided, left=json.dumps(left), **of)  # fmt: skip
    if undone:
        run(engine, "INSERT INTO purchase_steps VALUES (:id, 1, 'create_purchase', 'undone', NULL, now())", **of)
    await terminated(temporal, purchase)
    assert await start_again(api, paymentId=paid) == "started"
    async with make_worker(temporal, settings, engine, fake_provider):
        seen = await until(api, purchase, ending[0])
    assert (seen["ending"], seen["code"], seen["refunded"]) == ending
    assert (paid in {of.payment_id for of in fake_provider.refunds.values()}) == ending[2]


@pytest.mark.parametrize("closed", ["terminated", "forgotten"])
async def test_a_cancel_before_a_run_that_was_started_again_has_caught_up_undoes_what_the_first_had_done(
    api: httpx2.AsyncClient, settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider, paid: str,
    closed: str,
) -> None:  # fmt: skip
    async with make_worker(temporal, settings, engine, fake_provider):
        purchase = await begin(api, paid)
        await until(api, purchase, "attention")
    await terminated(temporal, purchase)
    if closed == "forgotten":
        await forgotten(temporal, purchase)
    assert await start_again(api, paymentId=paid) == "started"
    await temporal.get_workflow_handle(purchase).cancel(reason="the student asked")
    async with make_worker(temporal, settings, engine, fake_provider):
        seen = await until(api, purchase, "cancelled")
    assert seen["refunded"] is True
    assert value(engine, "SELECT status FROM student_course_purchases") == "voided"
    assert value(engine, "SELECT count(*) FROM enrollments WHERE ended_at IS NULL") == 0


async def test_a_run_that_was_started_again_after_the_pivot_is_not_taken_back(
    api: httpx2.AsyncClient,
    settings: Settings,
    temporal: Client,
    engine: Engine,
    fake_provider: FakeProvider,
    paid: str,
) -> None:
    trainer(engine)
    async with make_worker(temporal, settings, engine, fake_provider):
        purchase = await begin(api, paid)
        await until(api, purchase, "completed")
        await temporal.get_workflow_handle(purchase).result()
    run(engine, "UPDATE purchase_starts SET ending = NULL, ended_at = NULL, refunded = NULL")
    await forgotten(temporal, purchase)
    assert await start_again(api, paymentId=paid) == "started"
    await temporal.get_workflow_handle(purchase).cancel(reason="too late")
    async with make_worker(temporal, settings, engine, fake_provider):
        assert (await until(api, purchase, "completed"))["sessions"]["count"] == 10


@pytest.mark.usefixtures("worker")
async def test_a_completed_run_whose_ending_was_lost_is_started_again_and_tells_it_again(
    api: httpx2.AsyncClient, paid: str, engine: Engine, temporal: Client
) -> None:
    trainer(engine)
    purchase = await begin(api, paid)
    await until(api, purchase, "completed")
    await temporal.get_workflow_handle(purchase).result()
    run(engine, "UPDATE purchase_starts SET ending = NULL, ended_at = NULL, refunded = NULL")
    seen = await shown(api, purchase)
    assert (seen["ending"], seen["code"], seen["temporal"]) == ("attention", "UNKNOWN_RUN_STATE", "completed")
    assert (await listed(api, paid, attention="UNKNOWN_RUN_STATE"))["ending"] == "attention"
    assert await start_again(api, paymentId=paid) == "started"
    assert (await until(api, purchase, "completed"))["sessions"]["count"] == 10
    assert value(engine, "SELECT count(*) FROM outbox WHERE type = 'PURCHASE_COMPLETED'") == 1


async def test_the_doors_without_a_payment_start_theirs_again(
    api: httpx2.AsyncClient, temporal: Client, engine: Engine
) -> None:
    me, key = f"student-{uuid4()}", f"ticket-{uuid4()}"
    for who in ("student-1", me):
        student(engine, who)
    item(engine)
    item(engine, "course-free", price_minor=0)
    for door in (
        lambda: ask(api, key, wait=0),
        lambda: take(api, me, {"itemType": "course", "itemId": "course-free"}, wait=0),
    ):
        purchase = (await door()).json()["data"]["workflowId"]
        assert (await door()).json()["data"]["state"] == "running"
        await terminated(temporal, purchase)
        assert (await door()).json()["data"]["state"] == "started"
        await terminated(temporal, purchase)
        assert await start_again(api, purchaseId=purchase) == "started"
    is_problem(await api.post(PURCHASES, json={"purchaseId": "purchase:nobody:1"}), 404, "PURCHASE_NOT_FOUND")


async def test_each_row_tells_of_its_own_run_whatever_the_others_are_like(
    api: httpx2.AsyncClient,
    settings: Settings,
    temporal: Client,
    engine: Engine,
    fake_provider: FakeProvider,
    paid: str,
) -> None:
    fine = TypedSearchAttributes([SearchAttributePair(NEEDS_ATTENTION, False)])
    odd: dict[str, dict[str, Any]] = {
        "bad memo": {"search_attributes": fine, "memo": {"next_retry": 5}},
        "no attributes": {},
        "timed out": {"search_attributes": fine, "run_timeout": timedelta(milliseconds=1)},
        "never started": {},
    }
    payments = {name: pay(engine, None, fresh()) for name in odd}
    for name, options in odd.items():
        order = start(engine, payments[name])
        if name != "never started":
            await temporal.start_workflow(
                "PurchaseWorkflow", id=order.workflow_id, task_queue=settings.task_queue, **options
            )
    await begin(api, paid)
    just_begun = start(engine, pay(engine, None, fresh()))  # by a door that is about to start its run
    run(engine, "UPDATE purchase_starts SET started_at = now() WHERE purchase_id = :id", id=just_begun.purchase_id)
    unknown = ("attention", "UNKNOWN_RUN_STATE")
    wanted = dict.fromkeys(odd, unknown) | {"timed out": ("attention", "TERMINATED_BY_HAND")}
    expected = {payments[name]: said for name, said in wanted.items()}
    while (told := {name: (row["ending"], row["code"]) for name, row in (await rows_of(api)).items()}) != {
        **expected, paid: ("running", None), just_begun.payment_id: ("running", None),
    }:  # fmt: skip
        assert told, "visibility lags a little"
        await asyncio.sleep(0.05)
    assert set(await rows_of(api, attention="any")) == set(expected)
    for payment, said in expected.items():
        seen = await shown(api, f"purchase:{payment}:1")
        assert (seen["ending"], seen["code"]) == said
        assert (await case(api, f"purchase:{payment}:1"))["code"] == said[1]
    await end_runs(temporal, settings.task_queue)
