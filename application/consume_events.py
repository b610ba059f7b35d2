"""Consume events of other systems from Kafka: bring each in, or keep it as a dead letter after three refusals.

Refusals are counted in the database: three tries are three, however often a message is read again. What is settled
stays settled while another message of the same round waits for a server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from application.context import Services
from application.errors import NotFound, Unavailable, Unprocessable
from application.incoming_events import ingest
from db.dead_letters import DeadMessage, keep_dead_letter, topic_says
from db.refused_messages import (
    Place,
    Refusals,
    count_refusal,
    digest_of,
    forget_refusals,
    refusals_of,
    settle_refused,
)
from db.trouble import is_database_trouble
from gateways.kafka_client import Incoming, Outgoing
from gateways.kafka_errors import KafkaTrouble
from gateways.kafka_in import KafkaIn
from gateways.kafka_out import KafkaOut
from runtime.heartbeat import beat
from runtime.stopping import rest

TRIES = 3  # of a message that is refused; a server that does not answer costs no try (mission row 34)
_PAUSES = (0.1, 0.4)  # seconds between them: what a bad message needs to be no more than early
_MAX_CONCURRENCY = 16  # messages handled side by side, then committed together
_LISTEN = 0.5  # seconds to wait for messages
_LONGEST_PAUSE = 10.0  # seconds between looks when a server does not answer; far below Kafka's limit for a member
_LAST_ROUND = 4.0  # seconds that the messages under way have when it is asked to stop
_GOODBYE = 3.0  # seconds to leave the group; without it the others wait for the session to end
_LARGEST_KEY = 1024  # bytes of a key that a reference to a letter repeats

_T = TypeVar("_T")

log = structlog.stdlib.get_logger()


class Consumer:
    """One member of the consumer group: it takes messages, settles each and then commits their offsets."""

    def __init__(self, services: Services, inbox: KafkaIn, dead: KafkaOut, heartbeats: Path | None = None) -> None:
        self._services = services
        self._inbox, self._dead = inbox, dead
        self._heartbeats = heartbeats
        self._refused: dict[tuple[str, int], Place] = {}  # of each partition the last message that was refused
        # Threads of their own, one each: neither waits for the other, nor anything else for them.
        self._reading, self._sending = (ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("read", "send"))

    async def check(self) -> None:
        """Wait for the brokers' first answer, some seconds at most. Raises KafkaMisconfigured."""
        await _within(self._sending, self._dead.check)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; what is under way then has some seconds, and is read again if they are not enough."""
        pause = _LISTEN
        while not stop.is_set():
            beat(self._heartbeats, "consume")
            try:
                messages = await _within(self._reading, self._inbox.take, _MAX_CONCURRENCY, _LISTEN)
                await _unless_stopped(stop, self._round(messages))
                pause = _LISTEN
            except (Unavailable, SQLAlchemyError, KafkaTrouble) as err:
                log.warning("consumer_waits", why=getattr(err, "code", type(err).__name__), seconds=pause)
                await rest(stop, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Leave the group, so that others take over at once; when the brokers do not answer, just go."""
        try:
            async with asyncio.timeout(_GOODBYE):
                await _within(self._reading, self._inbox.close)
        except TimeoutError:
            log.warning("consumer_left_without_goodbye", seconds=_GOODBYE)
        for threads in (self._reading, self._sending):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _round(self, messages: Sequence[Incoming]) -> None:
        """Settle the messages and commit. Raises when a server does not answer; the rest is read again then."""
        await self._forget()
        if not messages:
            return
        done: list[Incoming] = []
        try:
            before = await refusals_of(self._services.engine, [(m.topic, m.partition, m.offset) for m in messages])
            outcomes = await asyncio.gather(
                *(self._settle(m, before.get((m.topic, m.partition, m.offset))) for m in messages),
                return_exceptions=True,
            )
            done = _in_order(messages, outcomes)
            if done:
                await _within(self._reading, self._inbox.commit, done)
            for message, outcome in zip(messages, outcomes, strict=True):
                if outcome is True and message in done:
                    self._refused[message.topic, message.partition] = _place(message)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        finally:
            if again := [each for each in messages if each not in done]:
                await _within(self._reading, self._inbox.seek_back, again)

    async def _forget(self) -> None:
        """Forget refusals of messages whose offsets are committed for certain: these do not come again."""
        over = [
            place for partition, place in self._refused.items() if self._inbox.committed(partition) > place.topic_offset
        ]
        if over:
            await forget_refusals(self._services.engine, over)
            for place in over:
                del self._refused[place.topic, place.topic_partition]

    async def _settle(self, message: Incoming, before: Refusals | None) -> bool:
        """Bring a message in or make it a dead letter; return whether it was ever refused.

        `before`: what was refused at its place, perhaps another message: the topic may have been made anew.
        """
        if before is not None and before.place != _place(message):
            before = None
        if before is not None and before.settled:
            return True
        dead = await tried(self._services, message, before)
        if dead is None:
            return before is not None
        await keep_dead_letter(self._services.engine, dead)
        if why := await _within(self._sending, self._pass_on, dead):
            await topic_says(self._services.engine, dead, why)
        await settle_refused(self._services.engine, _place(message))
        log.error("event_dead_lettered", code=dead.code, tries=dead.tries, topic_says=why, **_where(message))
        return True

    def _pass_on(self, dead: DeadMessage) -> str | None:
        """Send the message unchanged to the topic of dead letters, too, at least once; as a reference where that is refused.

        Return why the topic did not take it whole, if so: the table has it. Raises KafkaTrouble in an outage.
        """
        place = f"{dead.topic}/{dead.partition}/{dead.offset}"
        own = [("code", dead.code.encode()), ("tries", b"%d" % dead.tries), ("from", place.encode())]
        sent = self._dead.publish([Outgoing(place, dead.key, dead.payload, [*dead.headers, *own])])
        why = sent.refused.get(place)
        if why is not None:
            said = {"deadLetter": dead.digest, "topic": dead.topic, "partition": dead.partition, "offset": dead.offset,
                    "code": dead.code, "tries": dead.tries, "bytes": len(dead.payload or b"")}  # fmt: skip
            key = dead.key if dead.key is not None and len(dead.key) <= _LARGEST_KEY else None
            reference = Outgoing(place, key, json.dumps(said).encode(), [*own, ("reference", b"true")])
            sent = self._dead.publish([reference])
        if place in sent.delivered:
            return why and f"{why}: it has a reference"
        if place in sent.refused or sent.barred is not None:
            return sent.refused.get(place, sent.barred)
        raise KafkaTrouble(f"the topic of dead letters does not take it: {sent.trouble}")


async def tried(services: Services, message: Incoming, before: Refusals | None = None) -> DeadMessage | None:
    """Bring a message in; return None, or a dead letter after three refusals, those of before included.

    Raises when a server does not answer.
    """
    tries, code, detail = (before.tries, before.code, before.detail) if before else (0, "", "")
    while tries < TRIES:
        if tries:
            await asyncio.sleep(_PAUSES[tries - 1])
        try:
            await ingest(services, message.value or b"")
            return None
        except (NotFound, Unprocessable) as err:
            code, detail = err.code, err.detail or ""
        except Unavailable:
            raise
        except Exception as err:
            if isinstance(err, SQLAlchemyError) and is_database_trouble(err):
                raise
            log.exception("event_failed", **_where(message))
            code, detail = "INTERNAL_ERROR", type(err).__name__  # a bug of ours: replayed once it is mended
        tries = await count_refusal(services.engine, _place(message), code, detail)
        log.warning("event_refused", code=code, detail=detail, tried=tries, **_where(message))
    place = message.topic, message.partition, message.offset
    return DeadMessage(*place, message.key, message.value, code, detail, tries, message.headers)


def _in_order(messages: Sequence[Incoming], outcomes: Sequence[bool | BaseException]) -> list[Incoming]:
    """Return of each partition the messages before the first that is not settled."""
    found: list[Incoming] = []
    waiting: set[tuple[str, int]] = set()
    for message, outcome in zip(messages, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            waiting.add((message.topic, message.partition))
        elif (message.topic, message.partition) not in waiting:
            found.append(message)
    return found


async def _unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Await the work; once it is asked to stop, for some seconds more."""
    task, asked = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    await asyncio.wait([task], timeout=_LAST_ROUND)
    if not task.done():
        log.warning("consumer_stops_in_the_middle", seconds=_LAST_ROUND)
        task.cancel()
        await asyncio.wait([task], timeout=_GOODBYE)
        return
    task.result()


async def _within(threads: ThreadPoolExecutor, call: Callable[..., _T], *values: Any) -> _T:
    return await asyncio.get_running_loop().run_in_executor(threads, call, *values)


def _place(message: Incoming) -> Place:
    digest = digest_of(message.key, message.value)
    return Place(message.topic, message.partition, message.offset, digest)


def _where(message: Incoming) -> Mapping[str, str | int]:
    return {"topic": message.topic, "partition": message.partition, "offset": message.offset}
