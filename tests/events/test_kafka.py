"""The stories with a broker (mission rows 20, 25 to 27, 34; I9, I12): redelivered, shuffled, killed, frozen; once each."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from temporalio.client import Client

from gateways.kafka_client import Outgoing
from gateways.kafka_out import KafkaOut
from runtime.settings import Settings
from tests.build import rows, run, value
from tests.events.kafka_world import (
    World,
    brokers,
    everything_on,
    exactly_three_tries,
    fulfilling,
    handled,
    sell,
    world,
)
from tests.events.processes import relay_on
from tests.events.told import POISON, WANTED, event, raw
from tests.invariants import violations
from tests.roles import owner_of
from tests.waiting import eventually

__all__ = ["brokers", "world"]


def messages(ids: list[str], chance: random.Random) -> tuple[list[Outgoing], set[bytes]]:
    """Each event 1 to 5 times and each kind of poison 1 to 3 times, shuffled; and the poison."""
    bad = {kind: made(ids[0]) for kind, (_, made) in POISON.items()}
    copies = [(payment, raw(event(payment, student_id=f"student-{number}"))) for number, payment in enumerate(ids, 1)]
    sent = [each for each in copies for _ in range(chance.randint(1, 5))]
    sent += [(kind, payload) for kind, payload in bad.items() for _ in range(chance.randint(1, 3))]
    chance.shuffle(sent)
    return [Outgoing(str(n), key.encode(), payload) for n, (key, payload) in enumerate(sent)], set(bad.values())


@pytest.mark.parametrize(
    ("payments", "kills", "frozen"),
    [(50, 1, 2.0), pytest.param(1000, 20, 30.0, marks=pytest.mark.soak)],
)
async def test_every_payment_one_purchase_whatever_happens_to_consumers_and_brokers(
    payments: int, kills: int, frozen: float, world: World, settings: Settings, temporal: Client, tmp_path: Path
) -> None:
    engine, chance = world.engine, random.Random(payments)
    async with fulfilling(settings, temporal, engine, tmp_path) as provider:
        ids = sell(engine, provider, payments)
        sent, bad = messages(ids, chance)
        out = KafkaOut(world.brokers.servers, "payments", {})
        parts = [sent[n :: kills + 2] for n in range(kills + 2)]  # one more after each kill, and after the outage
        for _ in range(2):
            world.consume()
        assert len((await asyncio.to_thread(out.publish, parts[0])).delivered) == len(parts[0])
        for part in parts[1:-1]:
            before = handled(engine)
            assert len((await asyncio.to_thread(out.publish, part)).delivered) == len(part)
            await eventually(lambda before=before: handled(engine) > before)
            chance.choice(world.consumers[-2:]).kill()
            world.consume()
        world.brokers.freeze()
        await asyncio.sleep(frozen)  # the outage itself, not a wait for anything
        world.brokers.thaw()
        assert len((await asyncio.to_thread(out.publish, parts[-1])).delivered) == len(parts[-1])
        await eventually(lambda: handled(engine) == payments + len(bad))
        ended = "SELECT count(*) FROM purchase_starts WHERE ending = 'completed'"
        await eventually(lambda: value(engine, ended) == payments)
        assert violations(engine, provider.url) == []
    for query in (
        "SELECT count(*) FROM purchase_starts WHERE origin = 'event'",
        "SELECT count(*) FROM student_course_purchases WHERE status = 'active'",
        "SELECT count(*) FROM outbox WHERE type = 'PURCHASE_CREATED'",
    ):
        assert value(engine, query) == payments, query
    assert (await temporal.count_workflows(f"TaskQueue = '{settings.task_queue}'")).count == payments
    assert value(engine, "SELECT metadata FROM student_course_purchases LIMIT 1")["timeSlot"] == WANTED["classTime"]
    letters = {bytes(row.payload): (row.code, row.tries) for row in rows(engine, "SELECT * FROM dead_letters")}
    assert letters == {made(ids[0]): (code, 3) for code, made in POISON.values()}
    assert {message.value for message in everything_on(world, "payments.dead-letters", len(bad))} == bad
    exactly_three_tries([line for said in world.logs() for line in said], kills)


async def test_while_temporal_is_away_nothing_is_refused_and_nothing_lost(
    world: World, settings: Settings, temporal: Client, tmp_path: Path
) -> None:
    engine = world.engine
    async with fulfilling(settings, temporal, engine, tmp_path) as provider:
        [payment] = sell(engine, provider, 1)
        world.environment["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
        world.consume()
        [lost] = world.consumers
        sent = [Outgoing("bad", b"bad", b"bad"), Outgoing("good", b"good", raw(event(payment)))]
        assert len(KafkaOut(world.brokers.servers, "payments", {}).publish(sent).delivered) == 2
        await eventually(lambda: [line["event"] for line in lost.said()].count("consumer_waits") > 1)
        assert lost.stop() == 0
        assert value(engine, "SELECT count(*) FROM dead_letters WHERE code <> 'EVENT_NOT_JSON'") == 0
        world.environment["TEMPORAL_ADDRESS"] = settings.environment()["TEMPORAL_ADDRESS"]
        world.consume()
        await eventually(lambda: handled(engine) == 2)
        assert world.consumers[-1].stop() == 0
    assert [message.value for message in everything_on(world, "payments.dead-letters", 1)] == [b"bad"]
    exactly_three_tries([line for said in world.logs() for line in said])
    assert "consumer_stops" in [line["event"] for line in lost.said()]


async def test_five_megabytes_are_kept_as_they_came_and_the_next_message_is_handled(
    world: World, settings: Settings, temporal: Client, tmp_path: Path
) -> None:
    engine, five = world.engine, b"a" * 5_000_000
    async with fulfilling(settings, temporal, engine, tmp_path) as provider:
        [payment] = sell(engine, provider, 1)
        out = KafkaOut(world.brokers.servers, "payments", {})
        world.consume()
        assert len((await asyncio.to_thread(out.publish, [Outgoing("five", b"one", five)])).delivered) == 1
        await eventually(lambda: handled(engine) == 1)
        assert bytes(value(engine, "SELECT payload FROM dead_letters WHERE code = 'EVENT_TOO_LARGE'")) == five
        assert (
            len((await asyncio.to_thread(out.publish, [Outgoing("good", b"one", raw(event(payment)))])).delivered) == 1
        )
        await eventually(lambda: handled(engine) == 2)
    assert [message.value for message in everything_on(world, "payments.dead-letters", 1)] == [five]


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
async def test_an_event_is_told_however_often_the_relay_dies_between_commit_and_publish(
    kills: int, world: World, engine: Engine
) -> None:
    insert = "INSERT INTO outbox (key, type, occurred_at) VALUES (:key, 'PURCHASE_CREATED', now())"
    for number in range(kills):
        run(engine, insert, key=f"purchase:{number}:PURCHASE_CREATED")
        with pytest.raises(ZeroDivisionError):
            lose(engine, insert, f"purchase:{number}-lost:PURCHASE_CREATED")
        dying = world.start(relay_on, "before" if number % 2 else "after")
        assert await asyncio.to_thread(dying.ended) == -9, dying.said()
    last = world.start(relay_on, "never")
    await eventually(lambda: value(engine, "SELECT count(*) FROM outbox WHERE published_at IS NULL") == 0)
    assert await asyncio.to_thread(last.stop) == 0
    told = await asyncio.to_thread(everything_on, world, "purchases", kills)
    wanted = {f"purchase:{number}:PURCHASE_CREATED" for number in range(kills)}
    run(engine, "CREATE TABLE effects (id text PRIMARY KEY, key text NOT NULL)")
    for message in told:  # as any consumer does: the id of the event and its effect in one transaction
        said = json.loads(message.value)
        run(engine, "INSERT INTO effects VALUES (:id, :key) ON CONFLICT DO NOTHING", id=said["id"], key=said["key"])
    assert Counter(value(engine, "SELECT array_agg(key) FROM effects")) == Counter(wanted)
    assert len(told) > kills, "some were told twice, or no relay died after it published"


def lose(engine: Engine, insert: str, key: str) -> None:
    """A transaction that is rolled back."""
    with owner_of(engine).begin() as connection:
        connection.execute(text(insert), {"key": key})
        raise ZeroDivisionError
