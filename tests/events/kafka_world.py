"""Brokers, consumers and relays on them, and what tests with them need."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from db.grants import CONSUMER, RELAY
from gateways.kafka_client import Incoming
from gateways.kafka_in import KafkaIn
from gateways.payments import ProviderLine, ProviderPayment
from runtime.settings import Settings
from tests.api.conftest import end_runs, fresh
from tests.build import item, run, value
from tests.events.broker import Brokers
from tests.events.processes import Killable, consume
from tests.gateways.process import ProviderProcess
from tests.roles import as_role
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


def exactly_three_tries(said: list[dict[str, Any]], kills: int = 0) -> None:
    """Each try was made once, whoever made it, and what was given up was so after the third; a kill keeps one untold."""
    tries: dict[tuple[str, int, int], list[int]] = {}
    for line in sorted(said, key=lambda line: line["timestamp"]):
        place = (line.get("topic", ""), line.get("partition", 0), line.get("offset", 0))
        if line["event"] == "event_refused":
            tries.setdefault(place, []).append(line["tried"])
        elif line["event"] == "event_dead_lettered":
            assert line["tries"] == 3, place
            assert len(tries.get(place, [])) >= 3 - kills, place
    for place, numbers in tries.items():
        assert numbers == sorted(set(numbers)), place
        assert numbers[-1] <= 3, place
