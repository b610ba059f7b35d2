"""Two different things that once had the same id, over the doors that make them; and what an older version stored."""

from __future__ import annotations

from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from domain.ids import purchase_id_of
from tests.api.conftest import begin, end_runs, is_problem, shown, until
from tests.api.operators.test_bulk import audited
from tests.api.operators.test_verbs import act
from tests.api.people.test_coins import coins_of, top_up
from tests.api.purchases.test_direct import ask
from tests.api.purchases.test_free import take
from tests.build import NOW, item, pay, rows, run, student, value
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer


async def test_a_payment_called_manual_and_a_purchase_by_hand_are_two(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    student(engine, "student-2")
    item(engine)
    pay(engine, fake_provider, "manual", student_id="student-2")
    number = uuid4().int % 1_000_000 + 1  # workflow ids are shared by all tests
    run(engine, "UPDATE payment_lines SET line = :number", number=number)
    given = (await ask(api, str(number), wait=0)).json()["data"]
    assert given["workflowId"] == f"purchase:manual:{number}"
    answer = await api.post("/api/v1/purchases", json={"paymentId": "manual"})
    [line] = answer.json()["lines"]
    assert (answer.status_code, line["state"]) == (202, "started")
    assert line["id"] != given["id"]
    mine = await api.get(f"/api/v1/purchases/{line['workflowId']}", headers=bearer("student", "student-2"))
    assert (mine.json()["id"], mine.json()["paymentId"]) == (line["id"], "manual")
    owners = rows(engine, "SELECT student_id, payment_id FROM purchase_starts ORDER BY 1")
    assert owners == [("student-1", None), ("student-2", "manual")]


@pytest.mark.parametrize("payment", ["manual", "free"])
async def test_a_line_an_older_version_started_keeps_its_id_at_every_door(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, payment: str
) -> None:
    student(engine)
    item(engine)
    pay(engine, fake_provider, payment)
    older = f"purchase:{payment}:1"
    run(
        engine,
        "INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, started_at, ending, ended_at)"
        " VALUES (:id, :older, :payment, 1, 'student-1', 'checkout', :now, 'completed', :now)",
        id=purchase_id_of(older), older=older, payment=payment, now=NOW,
    )  # fmt: skip
    answer = await api.post("/api/v1/purchases", json={"paymentId": payment})
    [line] = answer.json()["lines"]
    assert (answer.status_code, line["workflowId"], line["state"]) == (200, older, "completed")
    direct = await ask(api, "a-key", paymentId=payment, wait=0)
    assert direct.json()["data"]["workflowId"] == older, direct.text
    assert (await shown(api, older))["ending"] == "completed"
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 1


async def test_two_students_with_colons_get_their_coins_each(api: httpx2.AsyncClient, engine: Engine) -> None:
    for name in ("amb", "amb:x"):
        student(engine, name)
    assert (await top_up(api, "amb", requestKey="x:k1")).json()["balance"] == 150
    assert (await top_up(api, "amb:x", requestKey="k1")).json()["balance"] == 150
    for name in ("amb", "amb:x"):
        assert (await coins_of(api, name))["balance"] == 150


async def test_a_top_up_an_older_version_stored_is_not_made_again(api: httpx2.AsyncClient, engine: Engine) -> None:
    for name in ("amb", "amb:x"):
        student(engine, name)
    run(
        engine,
        "INSERT INTO coin_movements (key, student_id, kind, coins, actor, reason, moved_at)"
        " VALUES ('student:amb:x:k1:COIN_TOP_UP', 'amb', 'top_up', 150, 'ann', 'bought at the desk', :now)",
        now=NOW,
    )
    assert (await top_up(api, "amb", requestKey="x:k1")).json()["balance"] == 150
    assert (await top_up(api, "amb:x", requestKey="k1")).json()["balance"] == 150


@pytest.mark.usefixtures("worker")
async def test_two_people_with_colons_do_an_act_each(api: httpx2.AsyncClient, engine: Engine, paid: str) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    for who, key in (("ops:ann", "t9"), ("ann", "t9:ops")):
        answer = await act(api, purchase, "retry_now", key, who)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["actor"], answer.json()["requestKey"]) == (who, key)
    assert len(await audited(engine, 2)) == 2
    done = "SELECT actor, request_key FROM operator_acts ORDER BY 1"
    assert rows(engine, done) == [("ann", "t9:ops"), ("ops:ann", "t9")]


@pytest.mark.usefixtures("worker")
async def test_a_key_of_one_verb_is_refused_for_another(api: httpx2.AsyncClient, temporal: Client, paid: str) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    assert (await act(api, purchase, "retry_now", "t9")).status_code == 200
    is_problem(await act(api, purchase, "skip_step", "t9", step="assign_trainer"), 409, "KEY_REUSED")
    history = await temporal.get_workflow_handle(purchase).fetch_history()
    accepted = [each.workflow_execution_update_accepted_event_attributes for each in history.events]
    ids = [each.accepted_request.meta.update_id for each in accepted if each.protocol_instance_id]
    assert ids == ["t9:ann:retry_now"]


async def test_two_students_with_colons_have_a_thing_in_the_cart_each(api: httpx2.AsyncClient, engine: Engine) -> None:
    item(engine)
    body = {"itemType": "course", "itemId": "course-piano"}
    for name, key in (("amb", "x:key-4711"), ("amb:x", "key-4711")):
        headers = {**bearer("student", name), "Idempotency-Key": key}
        assert (await api.post("/api/v1/cart/items", json=body, headers=headers)).status_code == 201


async def test_two_free_items_with_colons_are_two(
    api: httpx2.AsyncClient, engine: Engine, task_queue: str, temporal: Client
) -> None:
    """Another item's second time, and a longest of all ids."""
    me = f"s-{uuid4()}"
    long, odd = "i" * 200, "m" * (128 - len(me)) + me
    for each in (me, odd):
        student(engine, each)
    for name in ("t", "t:2", long):
        item(engine, name, item_type="test", fulfilment="ownership", price_minor=0)
    seen = set[str]()
    for name in ("t", "t:2", "t"):
        answer = await take(api, me, {"itemType": "test", "itemId": name}, wait=0)
        assert answer.status_code == 202, answer.text
        seen.add(answer.json()["data"]["workflowId"])
        run(engine, "UPDATE purchase_starts SET ending = 'cancelled', ended_at = now() WHERE ending IS NULL")
    assert seen == {f"purchase:free:{me}:test:t", f"purchase:free:{me}:test:t~3a.2", f"purchase:free:{me}:test:t:2"}
    answer = await take(api, odd, {"itemType": "test", "itemId": long}, wait=0)
    named = answer.json()["data"]["workflowId"]
    assert len(named) == 255
    assert named.startswith(f"purchase:free:{odd}:test:iii")
    assert (await shown(api, named))["studentId"] == odd
    await end_runs(temporal, task_queue)
