"""The relay process publishes the events that the outbox holds. `python -m relay` runs until SIGTERM or SIGINT.

Any number of relays may run. The database wakes them when there is something, and now and then they look by themselves.
With Kafka an event is sent to its topic and marked once the delivery report is there; without Kafka it is logged and
marked. From then on it is owed to every webhook target that wants it. Events are sent at least once, under the same id,
and those of one subject in order.

Exit codes: 0 stopped as asked, 1 a setting is wrong, 3 there is no database. One that does not answer is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import make_async_engine
from db.notices import ring
from db.outbox import OutboxRow, claim_events, events_published
from db.sealing import NoKey, Seal, SecretUnreadable
from db.webhooks import (
    Due,
    claim_deliveries,
    delivery_tried,
    due_in,
    hold_deliveries,
    seal_secrets,
    secret_of,
)
from domain.events import envelope
from domain.ids import event_id_of, subject_of
from gateways.webhooks import Webhooks
from runtime.errors import ServerUnreachable
from runtime.heartbeat import beat
from runtime.leaving import leave
from runtime.process import run
from runtime.settings import Settings
from runtime.stopping import asked_to_stop, rest

_MAX_BATCH = 200  # events of one round, published together
_TO_ONE = 20  # deliveries of one round to one target
_LOOK_AGAIN = 5.0  # seconds between looks when no bell rings
_AT_MOST_EVERY = 0.1  # seconds; while it rings all the time, a look finds more
_PAUSE = 0.5  # seconds between tries when a server does not answer, doubling ...
_LONGEST_PAUSE = 10.0  # ... up to this
_SEAL_AGAIN = 60.0  # seconds between looks for secrets that are not sealed with the first key

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

    def __init__(self, settings: Settings) -> None:
        from gateways.kafka import KafkaOut  # the extra `kafka`: only where there is a Kafka

        self._out = KafkaOut(settings.kafka_servers, settings.kafka_topic_out, settings.kafka_extras)

    async def publish(self, events: Sequence[OutboxRow]) -> set[str]:
        """Send the events, wait for the delivery reports and return the keys of those delivered."""
        from gateways.kafka import Outgoing

        messages = [
            Outgoing(each.key, subject_of(each.key).encode(), body_of(each), {"id": event_id_of(each.key)})
            for each in events
        ]
        return await asyncio.to_thread(self._out.publish, messages)


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


async def keep_sealed(engine: AsyncEngine, seal: Seal, stop: asyncio.Event) -> None:
    """Seal secrets stored before there was a seal, or with an older key, until asked to stop."""
    while not stop.is_set():
        try:
            if count := await seal_secrets(engine, seal):
                log.info("secrets_sealed", count=count)
        except SQLAlchemyError as err:
            log.warning("relay_waits", why=type(err).__name__)
        except NoKey:
            log.warning("secrets_not_sealed", why="SECRETS_KEYS is not set")
            return
        await rest(stop, _SEAL_AGAIN)


async def deliver(
    engine: AsyncEngine,
    webhooks: Webhooks,
    seal: Seal,
    stop: asyncio.Event,
    bell: asyncio.Event,
    heartbeats: Path | None = None,
) -> None:
    """Deliver to webhook targets until asked to stop. Each target has its own task: a dead one holds up nobody."""
    busy: dict[str, asyncio.Task[None]] = {}
    while not stop.is_set():
        beat(heartbeats, "deliver")
        bell.clear()
        busy = {target: task for target, task in busy.items() if not task.done()}
        wait = _LOOK_AGAIN
        try:
            for target, seconds in (await due_in(engine, busy)).items():
                if seconds > 0:
                    wait = min(wait, seconds)
                    continue
                busy[target] = asyncio.create_task(_deliver_to(engine, webhooks, seal, target, stop))
                busy[target].add_done_callback(lambda _: bell.set())  # what came meanwhile was not looked at
        except SQLAlchemyError as err:
            log.warning("relay_waits", why=type(err).__name__)
            wait = _PAUSE
        await rest(stop, _AT_MOST_EVERY)
        await rest(stop, wait, bell)
    await asyncio.gather(*busy.values())


async def _deliver_to(engine: AsyncEngine, webhooks: Webhooks, seal: Seal, target: str, stop: asyncio.Event) -> None:
    """Deliver what is due to one target; a delivery that fails holds up only the later events of its own subject."""
    try:
        try:
            secret = await secret_of(engine, target, seal)
            while secret and not stop.is_set() and (due := await claim_deliveries(engine, target, _TO_ONE)):
                await asyncio.gather(*(_try(engine, webhooks, secret, each) for each in due))
                if len(due) < _TO_ONE:
                    return
        except SecretUnreadable as err:
            log.error("webhooks_held", target=target, why=str(err))
            await hold_deliveries(engine, target, str(err))
    except SQLAlchemyError as err:  # tried again when the lease of what was claimed is over
        log.warning("relay_waits", why=type(err).__name__)
        await rest(stop, _PAUSE)


async def _try(engine: AsyncEngine, webhooks: Webhooks, secret: str, due: Due) -> None:
    delivered, answer = await webhooks.send(due.url, secret, event_id_of(due.key), body_of(due))
    await delivery_tried(engine, due, answer, delivered=delivered)
    say = log.info if delivered else log.warning
    say("webhook_tried", target=due.target_id, key=due.key, tries=due.tries, delivered=delivered, answer=answer)


async def serve(settings: Settings, publisher: Publisher, stop: asyncio.Event) -> None:
    """Relay until `stop`, then let the tries under way end."""
    if settings.database_url is None:
        raise ServerUnreachable("a relay needs DATABASE_URL, and no stack runs (start everything with `coursaga up`)")
    engine = make_async_engine(settings.database_url.get_secret_value(), pool_size=10)  # one of them listens
    webhooks, seal = Webhooks(private=settings.webhook_private_addresses), Seal(settings.sealing_keys)
    log.info("relay_serves", kafka=bool(settings.kafka_bootstrap_servers))
    committed, owed, beats = asyncio.Event(), asyncio.Event(), settings.heartbeat_folder
    try:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(ring(engine, {"outbox": committed, "webhook_deliveries": owed}))
            tasks.create_task(keep_sealed(engine, seal, stop))
            publishing = tasks.create_task(publish(engine, publisher, stop, committed, beats))
            delivering = tasks.create_task(deliver(engine, webhooks, seal, stop, owed, beats))
            await asyncio.wait([publishing, delivering])
            listening.cancel()
    finally:
        await webhooks.close()
        await engine.dispose()
        log.info("relay_stops")


async def _until_asked(settings: Settings) -> None:
    await serve(settings, ToKafka(settings) if settings.kafka_bootstrap_servers else ToLog(), asked_to_stop())


def main() -> int:
    """Run the relay process and return its exit code."""
    return run("relay", _until_asked)


if __name__ == "__main__":
    leave(main())
