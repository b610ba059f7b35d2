"""Publish the events that the outbox holds: to Kafka, or to the log where there is no Kafka.

Events are sent at least once, under the same id, and those of one subject in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.outbox import OutboxRow, claim_events, events_published
from db.webhooks import Due
from domain.events import envelope
from domain.ids import event_id_of, subject_of
from runtime.heartbeat import beat
from runtime.settings import Settings
from runtime.stopping import rest

_MAX_BATCH = 200  # events of one round, published together
_LOOK_AGAIN = 5.0  # seconds between looks when no bell rings
_AT_MOST_EVERY = 0.1  # seconds; while it rings all the time, a look finds more
_PAUSE = 0.5  # seconds between tries when a server does not answer, doubling ...
_LONGEST_PAUSE = 10.0  # ... up to this

if TYPE_CHECKING:
    from gateways.kafka_out import KafkaOut

log = structlog.stdlib.get_logger()


class Publisher(Protocol):
    """Sends events somewhere and returns the keys of those that are delivered for certain."""

    async def publish(self, events: Sequence[OutboxRow]) -> set[str]: ...


class ToLog:
    """Logs one line per event, with its type and ids only. Used without Kafka."""

    async def publish(self, events: Sequence[OutboxRow]) -> set[str]:
        """Log the events; return the keys of all."""
        for event in events:
            log.info("event_told", id=event_id_of(event.key), type=event.type, key=event.key)
        return {event.key for event in events}


class ToKafka:
    """Sends events to the Kafka topic of our events, partitioned by subject."""

    def __init__(self, out: KafkaOut) -> None:
        self._out = out
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")

    async def check(self) -> None:
        """Wait for the brokers' first answer, some seconds at most. Raises KafkaMisconfigured."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._out.check)

    async def publish(self, events: Sequence[OutboxRow]) -> set[str]:
        """Send the events, wait for the delivery reports and return the keys of those delivered."""
        from gateways.kafka_client import Outgoing

        messages = [
            Outgoing(each.key, subject_of(each.key).encode(), body_of(each), [("id", event_id_of(each.key).encode())])
            for each in events
        ]
        sent = await asyncio.get_running_loop().run_in_executor(self._thread, self._out.publish, messages)
        return sent.delivered


async def to_kafka(settings: Settings) -> ToKafka:
    """Return a publisher to Kafka. Raises KafkaMisconfigured for a wrong option or a login that brokers refuse."""
    from gateways.kafka_out import KafkaOut  # the extra `kafka`: only where there is a Kafka

    publisher = ToKafka(KafkaOut(settings.kafka_servers, settings.kafka_topic_out, settings.kafka_extras))
    await publisher.check()
    return publisher


def body_of(event: OutboxRow | Due) -> bytes:
    """Return the event in the envelope that others get."""
    return envelope(event.key, event.type, event.occurred_at, event.data)


async def publish_some(engine: AsyncEngine, publisher: Publisher) -> tuple[int, int]:
    """Publish one round; return how many events were claimed, and how many of them were published and marked.

    The claim is held meanwhile; if this process dies, the claim ends and the events are published once more.
    """
    async with engine.begin() as conn:
        events = await claim_events(conn, _MAX_BATCH)
        delivered = await publisher.publish(events) if events else set[str]()
        if delivered:
            await events_published(conn, [event.id for event in events if event.key in delivered])
    return len(events), len(delivered)


async def publish(
    engine: AsyncEngine, publisher: Publisher, stop: asyncio.Event, bell: asyncio.Event, heartbeats: Path | None = None
) -> None:
    """Publish what is there whenever the bell rings, until asked to stop; while brokers or database do not answer, try again with growing pauses."""
    pause = _PAUSE
    while not stop.is_set():
        beat(heartbeats, "publish")
        bell.clear()  # before the look, so that what is committed after it rings again
        try:
            claimed, published = await publish_some(engine, publisher)
        except SQLAlchemyError as err:
            log.warning("relay_waits", why=type(err).__name__)
            claimed, published = 1, 0
        if claimed > published:
            await rest(stop, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        pause = _PAUSE
        if claimed < _MAX_BATCH:
            await rest(stop, _AT_MOST_EVERY)
        if not claimed:
            await rest(stop, _LOOK_AGAIN, bell)
