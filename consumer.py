"""The consumer process brings events of other systems from Kafka into the event door.

`python -m consumer` runs until SIGTERM or SIGINT. Any number of consumers may run. An offset is committed only after
what became of its message is stored: its workflows started, or the message kept as a dead letter after three tries.
While Temporal, PostgreSQL or Kafka do not answer nothing is refused and nothing committed: the same messages are read
again.

Exit codes: 0 stopped as asked, 1 a setting is wrong, 3 there is no database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from application.context import Services
from application.errors import NotFound, Unavailable, Unprocessable
from application.incoming_events import ingest
from application.wiring import open_services
from db.dead_letters import DeadMessage, keep_dead_letter
from db.trouble import is_database_trouble
from gateways.kafka import Incoming, KafkaIn, KafkaOut, KafkaTrouble, Outgoing
from runtime.heartbeat import beat
from runtime.leaving import leave
from runtime.process import run
from runtime.settings import Settings
from runtime.stopping import asked_to_stop, rest

TRIES = 3  # of a message that is refused; a server that does not answer costs no try (mission row 34)
_PAUSES = (0.1, 0.4)  # seconds between them: what a bad message needs to be no more than early
_MAX_CONCURRENCY = 16  # messages handled side by side, then committed together
_LISTEN = 0.5  # seconds to wait for messages
_LONGEST_PAUSE = 10.0  # seconds between looks when a server does not answer; far below Kafka's limit for a member

log = structlog.stdlib.get_logger()


class Consumer:
    """One member of the consumer group: it takes messages, handles each and then commits their offsets."""

    def __init__(self, services: Services, inbox: KafkaIn, dead: KafkaOut, heartbeats: Path | None = None) -> None:
        self._services = services
        self._inbox = inbox
        self._dead = dead
        self._heartbeats = heartbeats

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; what is under way then is finished and committed."""
        pause = _LISTEN
        while not stop.is_set():
            beat(self._heartbeats, "consume")
            messages = await asyncio.to_thread(self._inbox.take, _MAX_CONCURRENCY, _LISTEN)
            try:
                await self._handle_batch(messages)
                pause = _LISTEN
            except (Unavailable, SQLAlchemyError, KafkaTrouble) as err:
                log.warning("consumer_waits", why=getattr(err, "code", type(err).__name__), seconds=pause)
                await asyncio.to_thread(self._inbox.seek_back, messages)
                await rest(stop, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _handle_batch(self, messages: Sequence[Incoming]) -> None:
        """Handle all messages and store what became of each, then commit. Raises when a server does not answer."""
        if not messages:
            return
        settled = await asyncio.gather(*(self._handle(each) for each in messages), return_exceptions=True)
        for outcome in settled:
            if isinstance(outcome, BaseException):
                raise outcome
        await asyncio.to_thread(self._inbox.commit, messages)

    async def _handle(self, message: Incoming) -> None:
        dead = await tried(self._services, message)
        if dead is None:
            return
        await keep_dead_letter(self._services.engine, dead)
        await asyncio.to_thread(self._pass_on, dead)
        log.error("event_dead_lettered", code=dead.code, tries=dead.tries, **_place(message))

    def _pass_on(self, dead: DeadMessage) -> None:
        """Send the message unchanged to the topic of dead letters, too, at least once. Raises KafkaTrouble."""
        place = f"{dead.topic}/{dead.partition}/{dead.offset}"
        headers: dict[str, str | bytes | None] = {"code": dead.code, "tries": str(dead.tries), "from": place}
        if not self._dead.publish([Outgoing(place, dead.key, dead.payload, headers)]):
            raise KafkaTrouble("the topic of dead letters does not take it")


async def tried(services: Services, message: Incoming) -> DeadMessage | None:
    """Bring a message in; return None, or a dead letter after three refusals. Raises when a server does not answer."""
    code, detail = "", ""
    for number in range(1, TRIES + 1):
        try:
            await ingest(services, message.value)
            return None
        except (NotFound, Unprocessable) as err:
            code, detail = err.code, err.detail or ""
        except Unavailable:
            raise
        except Exception as err:
            if isinstance(err, SQLAlchemyError) and is_database_trouble(err):
                raise
            log.exception("event_failed", **_place(message))
            code, detail = "INTERNAL_ERROR", type(err).__name__  # a bug of ours: replayed once it is mended
        log.warning("event_refused", code=code, detail=detail, tried=number, **_place(message))
        if number < TRIES:
            await asyncio.sleep(_PAUSES[number - 1])
    return DeadMessage(
        message.topic, message.partition, message.offset, message.key, message.value, code, detail, TRIES
    )


def _place(message: Incoming) -> dict[str, str | int]:
    return {"topic": message.topic, "partition": message.partition, "offset": message.offset}


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Consume until `stop`, then leave the group."""
    servers, extras = settings.kafka_servers, settings.kafka_extras
    async with open_services(settings) as services:
        inbox = KafkaIn(servers, settings.kafka_topic_in, settings.kafka_group, extras)
        try:
            log.info("consumer_serves", topic=settings.kafka_topic_in, group=settings.kafka_group)
            dead = KafkaOut(servers, settings.kafka_topic_dead, extras)
            await Consumer(services, inbox, dead, settings.heartbeat_folder).run(stop)
        finally:
            await asyncio.to_thread(inbox.close)
            log.info("consumer_stops")


async def _until_asked(settings: Settings) -> None:
    await serve(settings, asked_to_stop())


def main() -> int:
    """Run the consumer process and return its exit code."""
    return run("consumer", _until_asked)


if __name__ == "__main__":
    leave(main())
