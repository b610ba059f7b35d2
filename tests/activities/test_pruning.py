"""What is kept for a time only goes once it is over, and nothing else; a schedule sees to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.worker import Worker

from activities.pruning import PruningActivities
from db import pruning
from tests.build import NOW, item, pay, rows, run, start, student
from workflows.pruning import PruneWorkflow

KEPT = timedelta(days=90)
OLD, NEW = NOW - KEPT - timedelta(seconds=1), NOW - KEPT + timedelta(seconds=1)


def activities(engine: Engine) -> PruningActivities:
    return PruningActivities(engine, lambda: NOW, KEPT)


def told(engine: Engine, purchase: str | None, at: object, kind: str = "PURCHASE_CREATED") -> int:
    run(
        engine,
        "INSERT INTO outbox (key, type, data, occurred_at, published_at)"
        " VALUES (:key, :type, jsonb_build_object('purchaseId', CAST(:purchase AS text)), :now, :at)",
        key=f"purchase:{uuid4()}:{kind}", type=kind, purchase=purchase, now=NOW, at=at,
    )  # fmt: skip
    return rows(engine, "SELECT max(id) AS id FROM outbox")[0].id


def purchase_that_ended(engine: Engine, name: str, at: object) -> str:
    made = start(engine, pay(engine, payment_id=name)).purchase_id
    if at is not None:
        run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = :at WHERE purchase_id = :id", at=at, id=made)  # fmt: skip
    return made


def delivery(engine: Engine, event: int, *, delivered: object = None, given_up: object = None) -> None:
    run(
        engine,
        "INSERT INTO webhook_deliveries (target_id, event_id, subject, next_try_at, delivered_at, given_up_at)"
        " VALUES ('hook', :event, 's', :now, :delivered, :given_up)",
        event=event, now=NOW, delivered=delivered, given_up=given_up,
    )  # fmt: skip


@pytest.fixture
def shop(engine: Engine) -> Engine:
    student(engine)
    item(engine)
    run(
        engine,
        "INSERT INTO webhook_targets (id, url, secret, created_at) VALUES ('hook', 'https://h', 's', :now)",
        now=OLD,
    )
    return engine


def test_events_go_once_they_are_told_and_their_purchase_is_over(shop: Engine) -> None:
    over, lately = purchase_that_ended(shop, "a", OLD), purchase_that_ended(shop, "b", NEW)
    goes_on = purchase_that_ended(shop, "c", None)
    gone = [told(shop, over, OLD), told(shop, None, OLD)]
    stay = [told(shop, over, NEW), told(shop, over, None), told(shop, lately, OLD), told(shop, goes_on, OLD)]
    delivery(shop, gone[0], delivered=OLD)
    waits = told(shop, over, OLD)
    delivery(shop, waits)
    run(shop, "DELETE FROM outbox WHERE id <> ALL(:ids)", ids=[*gone, *stay, waits])
    assert activities(shop).prune()["events"] == 2
    assert {row.id for row in rows(shop, "SELECT id FROM outbox")} == {*stay, waits}
    assert [row.event_id for row in rows(shop, "SELECT event_id FROM webhook_deliveries")] == [waits]


def test_deliveries_go_once_they_are_answered_or_given_up(shop: Engine) -> None:
    events = [told(shop, None, NEW) for _ in range(4)]
    delivery(shop, events[0], delivered=OLD)
    delivery(shop, events[1], given_up=OLD)
    delivery(shop, events[2], delivered=NEW)
    delivery(shop, events[3])
    assert activities(shop).prune()["deliveries"] == 2
    assert {row.event_id for row in rows(shop, "SELECT event_id FROM webhook_deliveries")} == set(events[2:])


def test_replayed_dead_letters_are_emptied_and_what_was_done_stays(shop: Engine) -> None:
    for number, at in enumerate((OLD, NEW, None)):
        run(
            shop,
            "INSERT INTO dead_letters (digest, topic, topic_partition, topic_offset, payload, code, detail, tries, arrived_at,"
            " replayed_at) VALUES (:n, 't', 0, 0, 'said', 'X', '', 3, :old, :at)",
            n=str(number), old=OLD, at=at,
        )  # fmt: skip
    assert activities(shop).prune()["deadLetters"] == 1
    kept = rows(shop, "SELECT digest, convert_from(payload, 'UTF8') AS said FROM dead_letters ORDER BY digest")
    assert [tuple(row) for row in kept] == [("0", ""), ("1", "said"), ("2", "said")]
    assert activities(shop).prune()["deadLetters"] == 0


def test_keys_go_when_nobody_repeats_with_them_any_more(shop: Engine) -> None:
    for number, at in enumerate((OLD, NEW)):
        pay(shop, payment_id=f"pay-{number}")
        run(
            shop,
            "INSERT INTO idempotency_keys VALUES ('s', 'checkout', :key, 'h', :payment, :at, NULL, :at)",
            key=f"key-{number}-long", payment=f"pay-{number}", at=at,
        )  # fmt: skip
        run(shop, "INSERT INTO request_keys (door, scope, key, said, used_at) VALUES ('d', 's', :key, 'x', :at)", key=str(number), at=at)  # fmt: skip
    gone = activities(shop).prune()
    assert (gone["checkoutKeys"], gone["requestKeys"]) == (1, 1)
    assert [row.key for row in rows(shop, "SELECT key FROM idempotency_keys")] == ["key-1-long"]
    assert [row.key for row in rows(shop, "SELECT key FROM request_keys")] == ["1"]


async def test_the_workflow_goes_on_until_nothing_is_left(
    shop: Engine, temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    for number in range(5):
        run(shop, "INSERT INTO request_keys (door, scope, key, said, used_at) VALUES ('d', 's', :key, 'x', :at)", key=str(number), at=OLD)  # fmt: skip
    queue = f"prune-{uuid4()}"
    async with Worker(
        temporal, task_queue=queue, workflows=[PruneWorkflow], activities=[activities(shop).prune],
        activity_executor=ThreadPoolExecutor(1),
    ):  # fmt: skip
        gone = await temporal.execute_workflow(PruneWorkflow.run, id=queue, task_queue=queue)
    assert gone["requestKeys"] == 5
    assert rows(shop, "SELECT 1 FROM request_keys") == []
