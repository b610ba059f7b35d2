"""Each verb over HTTP in each state, with activities that fail as planned: the right answer, done once, or a clear no."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.worker import Worker

from domain.purchase import PaymentConfirmed, PurchaseOrder
from domain.refusals import REFUSALS
from runtime.settings import Settings
from tests.api.conftest import begin, booted, fresh, is_problem, until
from tests.api.operators.test_verbs import act
from tests.build import item, pay, run, student
from tests.gateways.in_memory import FakeProvider
from tests.samples import filled
from tests.temporal.fakes import Answer, Fakes, Hold, Refuse, Trouble, order_of
from workflows.inbox import AWAITING_SECOND_PERSON
from workflows.purchase import PurchaseWorkflow

# verb, the step it is parked at, the reason, what is sent with the verb
RIGHT: list[tuple[str, str, str, dict[str, Any]]] = [
    ("retry_now", "assign_trainer", "NO_TRAINER_AVAILABLE", {}),
    ("amend", "create_purchase", "METADATA_INCOMPLETE", {"changes": {"startDate": "2026-12-01"}}),
    ("skip_step", "assign_trainer", "NO_TRAINER_AVAILABLE", {"step": "assign_trainer"}),
    ("assign_trainer", "assign_trainer", "SCHEDULE_CONFLICT", {"trainerId": "trainer-9"}),
    ("approve_allocation", "approve_allocation", "AWAITING_APPROVAL", {}),
    ("create_sessions", "create_sessions", "SESSIONS_FAILED", {"overrides": {"count": 12}}),
    ("create_sessions", "create_sessions", "SESSIONS_PARTIAL", {}),
    ("cancel", "create_purchase", "UNKNOWN_ITEM", {"refund": "none"}),
]
WRONG: list[tuple[str, str, str, dict[str, Any]]] = [
    ("skip_step", "assign_trainer", "NO_TRAINER_AVAILABLE", {"step": "create_sessions"}),
    ("assign_trainer", "create_purchase", "METADATA_INCOMPLETE", {"trainerId": "trainer-9"}),
    ("assign_trainer", "create_sessions", "SESSIONS_FAILED", {"trainerId": "trainer-9"}),
    ("approve_allocation", "assign_trainer", "NO_TRAINER_AVAILABLE", {}),
    ("create_sessions", "assign_trainer", "NO_TRAINER_AVAILABLE", {}),
    ("create_sessions", "create_purchase", "UNKNOWN_ITEM", {"overrides": {"count": 3}}),
]
MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("amend", {"changes": {}}, "nothing to amend"),
    ("amend", {"changes": {"colour": "red"}}, "colour is not known"),
    ("amend", {"changes": {"timeSlot": "25:99"}}, "timeSlot"),
    ("skip_step", {"step": "confirm_payment"}, "cannot be skipped"),
    ("create_sessions", {"overrides": {"count": 0}}, "count is not"),
]
VERBS: dict[str, dict[str, Any]] = {verb: more for verb, _, _, more in reversed(RIGHT)}


@pytest.fixture
def fakes() -> Fakes:
    return Fakes(coins=200)


@pytest.fixture
def order(engine: Engine, fake_provider: FakeProvider) -> PurchaseOrder:
    """A paid line whose purchase is not started yet."""
    student(engine)
    item(engine)
    return order_of(pay(engine, fake_provider, fresh()))


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def faked(temporal: Client, settings: Settings, fakes: Fakes) -> AsyncIterator[None]:
    async with Worker(
        temporal,
        task_queue=settings.task_queue,
        workflows=[PurchaseWorkflow],
        activities=fakes.activities(),
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield


async def parked(api: httpx2.AsyncClient, fakes: Fakes, order: PurchaseOrder, step: str, code: str) -> None:
    """Start it; it needs somebody at this step."""
    fakes.plan(order, step, Refuse(code))
    await begin(api, order.payment_id)
    await until(api, order.workflow_id, "attention")


async def messages(temporal: Client, order: PurchaseOrder) -> int:
    """How many Updates the history knows."""
    history = await temporal.get_workflow_handle(order.workflow_id).fetch_history()
    return sum(event.HasField("workflow_execution_update_accepted_event_attributes") for event in history.events)


@pytest.mark.parametrize("dashed", [False, True], ids=["underscores", "dashes"])
@pytest.mark.parametrize(("verb", "step", "code", "more"), RIGHT, ids=[f"{verb}-{code}" for verb, _, code, _ in RIGHT])
async def test_a_verb_in_its_state_is_done_once_however_often_it_is_sent(
    api: httpx2.AsyncClient, temporal: Client, fakes: Fakes, order: PurchaseOrder,
    verb: str, step: str, code: str, more: dict[str, Any], dashed: bool,
) -> None:  # fmt: skip
    await parked(api, fakes, order, step, code)
    sent = verb.replace("_", "-") if dashed else verb
    answers = await asyncio.gather(*(act(api, order.workflow_id, sent, **more) for _ in range(3)))
    answers.append(await act(api, order.workflow_id, sent, **more))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    body = answers[0].json()
    assert (body["verb"], body["done"], body["requestKey"], body["actor"]) == (verb, True, "k1", "ann")
    assert [answer.json() for answer in answers] == [body] * 4
    with_ending = temporal.get_workflow_handle(order.workflow_id)
    if verb != "cancel":
        assert await with_ending.result() == "completed"
    else:
        await asyncio.gather(with_ending.result(), return_exceptions=True)
    assert fakes.acts(order) == [("k1", verb, body["outcome"])]
    assert len(fakes.decisions[order.purchase_id]) == (verb != "retry_now" and (verb, more) != ("create_sessions", {}))
    wanted = 1 if verb in ("cancel", "skip_step") else 2
    assert fakes.calls[order.purchase_id].count(step) == wanted


@pytest.mark.parametrize(("verb", "step", "code", "more"), WRONG, ids=[f"{verb}-{code}" for verb, _, code, _ in WRONG])
async def test_a_verb_in_a_wrong_state_is_409_and_leaves_nothing(
    api: httpx2.AsyncClient, temporal: Client, fakes: Fakes, order: PurchaseOrder,
    verb: str, step: str, code: str, more: dict[str, Any],
) -> None:  # fmt: skip
    await parked(api, fakes, order, step, code)
    problem = is_problem(await act(api, order.workflow_id, verb, **more), 409, "WRONG_STAGE")
    assert f"(stage: {step})" in problem["detail"]
    assert await messages(temporal, order) == 0
    assert (fakes.acts(order), fakes.decisions[order.purchase_id]) == ([], [])
    assert (await until(api, order.workflow_id, "attention"))["code"] == code


async def test_what_is_at_work_cannot_be_amended(
    api: httpx2.AsyncClient, temporal: Client, fakes: Fakes, order: PurchaseOrder
) -> None:
    fakes.plan(order, "enroll", hold := Hold())
    await begin(api, order.payment_id)
    await hold.entered.wait()
    answer = await act(api, order.workflow_id, "amend", changes={"timeSlot": "19:00"})
    assert "not parked" in is_problem(answer, 409, "WRONG_STAGE")["detail"]
    assert await messages(temporal, order) == 0
    hold.release.set()


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_on_a_closed_purchase_is_409_and_names_what_can_be_done(
    api: httpx2.AsyncClient, temporal: Client, fakes: Fakes, engine: Engine, order: PurchaseOrder, verb: str
) -> None:
    await begin(api, order.payment_id)
    assert await temporal.get_workflow_handle(order.workflow_id).result() == "completed"
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = now()")  # what the faked announce skips
    problem = is_problem(await act(api, order.workflow_id, verb, **VERBS[verb]), 409, "WRONG_STAGE")
    assert "/case" in problem["detail"]
    assert fakes.acts(order) == []


@pytest.mark.parametrize(("verb", "more", "says"), MALFORMED, ids=[ascii(more) for _, more, _ in MALFORMED])
async def test_what_makes_no_sense_at_any_stage_is_422_and_says_why(
    api: httpx2.AsyncClient, temporal: Client, fakes: Fakes, order: PurchaseOrder,
    verb: str, more: dict[str, Any], says: str,
) -> None:  # fmt: skip
    await parked(api, fakes, order, "assign_trainer", "NO_TRAINER_AVAILABLE")
    assert says in is_problem(await act(api, order.workflow_id, verb, **more), 422, "INVALID_ACT")["detail"]
    assert await messages(temporal, order) == 0


@pytest.mark.parametrize(
    ("verb", "more"),
    [("amend", {}), ("skip_step", {}), ("assign_trainer", {}), ("cancel", {"refund": "half"}),
     ("retry_now", {"step": "enroll"}), ("assign_trainer", {"trainerId": "a\0b"}), ("amend", {"changes": []}),
     ("amend", {"changes": {"itemId": "a\0b"}})],
    ids=ascii,
)  # fmt: skip
async def test_a_body_that_does_not_fit_the_verb_is_422(
    api: httpx2.AsyncClient, order: PurchaseOrder, verb: str, more: dict[str, Any]
) -> None:
    is_problem(await act(api, order.workflow_id, verb, **more), 422, "INVALID_REQUEST")


async def test_a_decision_that_comes_too_late_for_its_step_is_409(
    api: httpx2.AsyncClient, fakes: Fakes, order: PurchaseOrder
) -> None:
    await parked(api, fakes, order, "assign_trainer", "NO_TRAINER_AVAILABLE")
    fakes.plan(order, "decide", Refuse("WRONG_STAGE"))
    answer = await act(api, order.workflow_id, "amend", changes={"itemId": "course-chess"})
    assert is_problem(answer, 409, "WRONG_STAGE")["detail"] == "WRONG_STAGE was planned"


async def test_the_documentation_has_a_body_with_an_example_for_every_verb(api: httpx2.AsyncClient) -> None:
    paths = (await api.get("/openapi.json")).json()
    for verb in VERBS:
        call = paths["paths"][f"/api/v1/admin/purchases/{{purchase}}/{verb}"]["post"]
        schema = call["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        example = paths["components"]["schemas"][schema]["examples"][0]
        assert {"reason", "requestKey", *VERBS[verb]} <= example.keys() | {"overrides"}
        assert {"200", "202", "404", "409", "422", "503"} <= call["responses"].keys()


PARKED = [
    *(("create_purchase", code) for code in ("UNKNOWN_ITEM", "METADATA_INCOMPLETE", "DUPLICATE_PAYMENT_SUSPECTED")),
    ("enroll", "STEP_TROUBLE"),
    ("redeem_coins", "COINS_INSUFFICIENT"),
    *(("assign_trainer", code) for code in ("STUDENT_PROFILE_MISSING", "GPS_INVALID", "SCHEDULE_CONFLICT")),
    ("assign_trainer", "NO_TRAINER_AVAILABLE"),
    ("approve_allocation", "AWAITING_APPROVAL"),
    *(("create_sessions", code) for code in ("ALLOCATION_NOT_APPROVED", "SESSION_COUNT_MISSING")),
    *(("create_sessions", code) for code in ("SESSIONS_PARTIAL", "SESSIONS_FAILED")),
]


@pytest.mark.parametrize(("step", "code"), PARKED, ids=[code for _, code in PARKED])
async def test_every_action_the_case_file_offers_is_accepted_there(
    api: httpx2.AsyncClient, temporal: Client, engine: Engine, fake_provider: FakeProvider, fakes: Fakes,
    step: str, code: str,
) -> None:  # fmt: skip
    student(engine)
    item(engine)
    number, offered = 0, list[Any]([None])
    while number < len(offered):
        order = order_of(pay(engine, fake_provider, fresh()))
        fakes.plan(order, step, *([Trouble()] * 3 if code == "STEP_TROUBLE" else [Refuse(code)]))
        await begin(api, order.payment_id)
        await until(api, order.workflow_id, "attention")
        seen = (await api.get(f"/api/v1/admin/purchases/{order.workflow_id}/case")).json()
        assert seen["cause"].startswith(REFUSALS[code].operator.removesuffix("."))
        assert (seen["student"], seen["nextAction"]) == (REFUSALS[code].student, REFUSALS[code].next_action)
        offered = seen["actions"]
        answer = await api.post(offered[number]["href"], json=filled(offered[number]["body"]))
        assert answer.status_code == (202 if offered[number]["verb"] == "settle_refund" else 200), answer.text
        await asyncio.gather(temporal.get_workflow_handle(order.workflow_id).result(), return_exceptions=True)
        number += 1
    assert {"cancel"} <= {action["verb"] for action in offered}


async def test_above_the_limit_a_cancel_waits_for_a_second_person(
    settings: Settings, temporal: Client, fakes: Fakes, order: PurchaseOrder
) -> None:
    fakes.plan(order, "confirm_payment", Answer(PaymentConfirmed(10, "purchaseTier", amount_minor=500_00)))
    async with booted(settings.with_values(two_person_limit=100_00)) as api:
        await parked(api, fakes, order, "assign_trainer", "NO_TRAINER_AVAILABLE")
        for _ in range(2):
            first = await act(api, order.workflow_id, "cancel")
            assert (first.status_code, first.json()["done"]) == (202, False)
            assert first.json()["outcome"] == AWAITING_SECOND_PERSON
        case = f"/api/v1/admin/purchases/{order.workflow_id}/case"
        assert (await api.get(case)).json()[
            "secondPerson"
        ] == "cancel {'refund': 'full'} asked for by ann (requestKey k1)"
        assert (await until(api, order.workflow_id, "attention"))["code"] == "NO_TRAINER_AVAILABLE"
        differs = await act(api, order.workflow_id, "cancel", by="bob", refund="none")
        assert is_problem(differs, 409, "KEY_REUSED")
        second = await act(api, order.workflow_id, "cancel", by="bob")
        assert (second.status_code, second.json()["outcome"]) == (200, "rolled back")
        assert (await api.get(case)).json()["secondPerson"] is None
    await asyncio.gather(temporal.get_workflow_handle(order.workflow_id).result(), return_exceptions=True)
    assert [(record.actor, record.second_actor) for record in fakes.records[order.purchase_id]] == [("ann", "bob")]
    assert fakes.calls[order.purchase_id].count("refund_payment") == 1
