"""Send to Kafka and read from it (librdkafka). Calls block: use a thread. Importing needs the extra `kafka`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

_PATIENCE = 8.0  # seconds until an undelivered message counts as not delivered
_LARGEST = 16 * 1024 * 1024  # bytes; whatever came in can go to the dead letters
_SESSION_MS = 10_000  # after so long the partitions of a killed consumer are given to others

_log = structlog.get_logger()


class KafkaTrouble(Exception):
    """The brokers do not answer; nothing is lost, try again."""


@dataclass(frozen=True)
class Outgoing:
    """A message to send. `subject` decides the partition, so that the order of its messages holds."""

    id: str
    subject: bytes | None
    value: bytes
    headers: dict[str, str | bytes | None] = field(default_factory=dict[str, str | bytes | None])


@dataclass(frozen=True)
class Incoming:
    """A message that was read, unchanged, with its place."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes


class KafkaOut:
    """Sends to one topic; a message counts as delivered once the brokers' delivery report is there."""

    def __init__(self, servers: str, topic: str, options: Mapping[str, Any]) -> None:
        self._topic = topic
        own = {
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.timeout.ms": int(_PATIENCE * 1000),
            "message.max.bytes": _LARGEST,
        }
        self._producer = Producer({**own, **options}, logger=logging.getLogger("kafka"))

    def publish(self, messages: Sequence[Outgoing]) -> set[str]:
        """Send all messages and wait, 9 s at most; return the ids of those delivered. The others may be sent again."""
        delivered: set[str] = set()
        for message in messages:
            self._producer.produce(
                self._topic,
                value=message.value,
                key=message.subject,
                headers=message.headers,
                on_delivery=partial(_reported, delivered, message.id),
            )
        self._producer.flush(_PATIENCE + 1)  # by then each was delivered or timed out
        return delivered


class KafkaIn:
    """Reads one topic as a member of a group; an offset is committed only when the caller says so."""

    def __init__(self, servers: str, topic: str, group: str, options: Mapping[str, Any]) -> None:
        own = {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": True,
            "session.timeout.ms": _SESSION_MS,
        }
        self._consumer = Consumer({**own, **options}, logger=logging.getLogger("kafka"))
        self._consumer.subscribe([topic])

    def take(self, most: int, seconds: float) -> list[Incoming]:
        """Return the next messages, `most` at most, in order per partition; none when none come within `seconds`."""
        return [_incoming(message) for message in self._consumer.consume(most, seconds) if not _failed(message)]

    def commit(self, messages: Sequence[Incoming]) -> None:
        """Commit the offsets of these messages. A partition reassigned meanwhile is skipped; its new owner reads them again."""
        try:
            self._consumer.commit(offsets=_positions(messages, max, 1), asynchronous=False)
        except KafkaException as err:
            _log.warning("offsets_not_committed", error=str(err.args[0])[:200])

    def seek_back(self, messages: Sequence[Incoming]) -> None:
        """Have these messages read again, beginning with the first of each partition."""
        for position in _positions(messages, min, 0):
            try:
                self._consumer.seek(position)
            except KafkaException as err:  # it is another member's by now, who begins at the committed offset
                _log.warning("partition_gone", topic=position.topic, partition=position.partition, error=str(err))

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        self._consumer.close()


def _reported(delivered: set[str], message_id: str, error: KafkaError | None, message: Message) -> None:
    if error is None:
        delivered.add(message_id)
    else:
        _log.warning("message_not_delivered", id=message_id, error=error.name())


def _positions(messages: Sequence[Incoming], which: Any, beyond: int) -> list[TopicPartition]:
    offsets: dict[tuple[str, int], int] = {}
    for message in messages:
        place = (message.topic, message.partition)
        offsets[place] = which(offsets.get(place, message.offset), message.offset)
    return [TopicPartition(topic, partition, offset + beyond) for (topic, partition), offset in offsets.items()]


def _failed(message: Message) -> bool:
    """Return whether this is no message but an error report of the library, which it mends by itself; log it."""
    error = message.error()
    if error is not None:
        _log.warning("kafka_trouble", error=error.name())
    return error is not None


def _incoming(message: Message) -> Incoming:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None, "a message that is no error has a place"
    assert partition is not None
    assert offset is not None
    return Incoming(topic, partition, offset, _bytes(message.key()), _bytes(message.value()) or b"")


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
