"""The stories with a broker (mission rows 20, 25 to 27, 34; I9, I12): redelivered, shuffled, killed, frozen; once each."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from temporalio.client import Client

from db.grants import CONSUMER, RELAY
from gateways.kafka import Incoming, KafkaIn, KafkaOut, Outgoing
from gateways.payments import ProviderLine, ProviderPayment
from runtime.settings import Settings
from tests.api.conftest import end_runs, fresh
from tests.build import item, rows, run, value
from tests.events.broker import Brokers
from tests.events.processes import Killable, consume, relay_on
from tests.events.told import POISON, WANTED, event, raw
from tests.gateways.process import ProviderProcess
from tests.invariants import violations
from tests.roles import as_role, owner_of
from tests.waiting import eventually
from worker import make_worker

OPTIONS = '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}'  # a killed member is noticed as soon as can be


@dataclass
class World:
    """Brokers, and consumers on them."""

    engine: Engine
    brokers: Brokers
    environment: dict[str, str]
    folder: Path
    consumers: list[Killable] = field(default_factory=list[Killable])
    _names: Iterator[int] = field(default_factory=count)

    def start(self, target: Any, *more: str) -> Killable:
        role = CONSUMER if target is consume else RELAY
        environment = {**self.environment, "DATABASE_URL": as_role(role, self.environment["DATABASE_URL"])}
        return Killable(target, self.folder / f"{next(self._names)}.log", environment, *more)

    def consume(self) -> None:
        """One more consumer."""
        self.consumers.append(self.start(consume))

    def logs(self) -> list[list[dict[str, Any]]]:
        """What each consumer said that there ever was."""
        return [each.said() for each in self.consumers]


@pytest.fixture
def brokers() -> Generator[Brokers]:
    found = Brokers()
    yield found
    found.stop()


@pytest.fixture
def world(settings: Settings, engine: Engine, brokers: Brokers, tmp_path: Path) -> Generator[World]:
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": brokers.servers, "KAFKA_OPTIONS": OPTIONS, "LOG_FORMAT": "json"}
    world = World(engine, brokers, {**settings.environment(), **kafka}, tmp_path)
    yield world
    for each in world.consumers:
        each.kill()


@asynccontextmanager
async def fulfilling(
    settings: Settings, temporal: Client, engine: Engine, folder: Path
) -> AsyncGenerator[ProviderProcess]:
    """A worker, and the provider it asks."""
    provider = ProviderProcess(folder)
    provider.start()
    try:
        with provider.client() as client:
            async with make_worker(temporal, settings, engine, client):
                yield provider
    finally:
        provider.kill()
        await end_runs(temporal, settings.task_queue)


def sell(engine: Engine, provider: ProviderProcess, payments: int) -> list[str]:
    """So many students who paid for a course that needs no trainer; the payments' ids."""
    item(engine, "course-free", fulfilment="ownership")
    first = fresh()
    sold = f"FROM generate_series(1, {payments}) AS n"
    run(engine, f"INSERT INTO students (id, name) SELECT 'student-' || n, 'one' {sold}")
    run(engine, f"INSERT INTO payments SELECT :first || n, 'student-' || n, 'succeeded', 500, 'USD', now() {sold}",
        first=first)  # fmt: skip
    run(engine, f"INSERT INTO payment_lines SELECT :first || n, 1, 'course', 'course-free', 500, 0, '{{}}' {sold}",
        first=first)  # fmt: skip
    with provider.client() as client:
        for number in range(1, payments + 1):
            client.create(
                ProviderPayment(
                    f"{first}{number}", f"student-{number}", "succeeded", 500, "USD", (ProviderLine(1, 500),)
                )
            )
    return [f"{first}{number}" for number in range(1, payments + 1)]


def messages(ids: list[str], chance: random.Random) -> tuple[list[Outgoing], set[bytes]]:
    """Each event 1 to 5 times and each kind of poison 1 to 3 times, shuffled; and the poison."""
    bad = {kind: made(ids[0]) for kind, (_, made) in POISON.items()}
    copies = [(payment, raw(event(payment, student_id=f"student-{number}"))) for number, payment in enumerate(ids, 1)]
    sent = [each for each in copies for _ in range(chance.randint(1, 5))]
    sent += [(kind, payload) for kind, payload in bad.items() for _ in range(chance.randint(1, 3))]
    chance.shuffle(sent)
    return [Outgoing(str(n), key.encode(), payload) for n, (key, payload) in enumerate(sent)], set(bad.values())


def handled(engine: Engine) -> int:
    """Events taken and messages given up so far."""
    return value(
        engine,
        "SELECT (SELECT count(*) FROM taken_events WHERE handled_at IS NOT NULL) + (SELECT count(*) FROM dead_letters)",
    )


def everything_on(world: World, topic: str, enough: int) -> list[Incoming]:
    """What stands on a topic, read until there are `enough` different messages."""
    inbox = KafkaIn(world.brokers.servers, topic, "reader", {})
    found: list[Incoming] = []
    while len({message.value for message in found}) < enough:
        found += inbox.take(100, 1.0)
    inbox.close()
    return found


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
        assert len(await asyncio.to_thread(out.publish, parts[0])) == len(parts[0])
        for part in parts[1:-1]:
            before = handled(engine)
            assert len(await asyncio.to_thread(out.publish, part)) == len(part)
            await eventually(lambda before=before: handled(engine) > before)
            chance.choice(world.consumers[-2:]).kill()
            world.consume()
        world.brokers.freeze()
        await asyncio.sleep(frozen)  # the outage itself, not a wait for anything
        world.brokers.thaw()
        assert len(await asyncio.to_thread(out.publish, parts[-1])) == len(parts[-1])
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
    for said in world.logs():
        exactly_three_tries(said)


def exactly_three_tries(said: list[dict[str, Any]]) -> None:
    """A message was given up after its third try, no earlier and no later; a kill may have cut the last tries short."""
    tries: dict[tuple[str, int, int], list[int]] = {}
    for line in said:
        place = (line.get("topic", ""), line.get("partition", 0), line.get("offset", 0))
        if line["event"] == "event_refused":
            tries.setdefault(place, []).append(line["tried"])
        elif line["event"] == "event_dead_lettered":
            assert tries[place][-3:] == [1, 2, 3], place
    for numbers in tries.values():
        assert numbers == [n % 3 + 1 for n in range(len(numbers))]


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
        assert len(KafkaOut(world.brokers.servers, "payments", {}).publish(sent)) == 2
        await eventually(lambda: [line["event"] for line in lost.said()].count("consumer_waits") > 1)
        assert lost.stop() == 0
        assert value(engine, "SELECT count(*) FROM dead_letters WHERE code <> 'EVENT_NOT_JSON'") == 0
        world.environment["TEMPORAL_ADDRESS"] = settings.environment()["TEMPORAL_ADDRESS"]
        world.consume()
        await eventually(lambda: handled(engine) == 2)
        assert world.consumers[-1].stop() == 0
    assert "consumer_stops" in [line["event"] for line in lost.said()]


async def test_five_megabytes_are_kept_as_they_came_and_the_next_message_is_handled(
    world: World, settings: Settings, temporal: Client, tmp_path: Path
) -> None:
    engine, five = world.engine, b"a" * 5_000_000
    async with fulfilling(settings, temporal, engine, tmp_path) as provider:
        [payment] = sell(engine, provider, 1)
        out = KafkaOut(world.brokers.servers, "payments", {})
        world.consume()
        assert len(await asyncio.to_thread(out.publish, [Outgoing("five", b"one", five)])) == 1
        await eventually(lambda: handled(engine) == 1)
        assert bytes(value(engine, "SELECT payload FROM dead_letters WHERE code = 'EVENT_TOO_LARGE'")) == five
        assert len(await asyncio.to_thread(out.publish, [Outgoing("good", b"one", raw(event(payment)))])) == 1
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
