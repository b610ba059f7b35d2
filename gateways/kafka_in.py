"""Read a Kafka topic as a member of a consumer group (librdkafka). Calls block: use a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from gateways.kafka_client import Incoming, config_of, made, name_of
from gateways.kafka_errors import KafkaTrouble

_SESSION_MS = 10_000  # after so long the partitions of a killed consumer are given to others
_UNREADABLE = "unreadable-headers"  # stands for headers with a name that is no UTF-8

_log = structlog.get_logger()


class KafkaIn:
    """Reads one topic as a member of a group; an offset is committed only when the caller says so."""

    def __init__(self, servers: str, topic: str, group: str, options: Mapping[str, Any]) -> None:
        self._topic = topic
        self._committed: dict[tuple[str, int], int] = {}
        fixed = {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        usual = {
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": True,
            "session.timeout.ms": _SESSION_MS,
        }
        self._config = config_of(fixed, usual, options) | {"on_commit": self._note}
        self._consumer = self._joined()

    def _joined(self) -> Consumer:
        consumer = made(Consumer, self._config)
        consumer.subscribe([self._topic])
        return consumer

    def take(self, most: int, seconds: float) -> list[Incoming]:
        """Return the next messages, `most` at most, in order per partition; none when none come within `seconds`.

        After an error that the client does not survive there is a new one. Raises KafkaTrouble when it fails otherwise.
        """
        try:
            found = self._consumer.consume(most, seconds)
        except (KafkaException, RuntimeError) as err:
            raise KafkaTrouble(name_of(err)) from err
        errors = [error for message in found if (error := message.error()) is not None]
        for error in errors:
            _log.warning("kafka_trouble", error=error.name(), says=error.str())
        if any(error.fatal() for error in errors):
            Thread(target=self._consumer.close, daemon=True).start()
            self._consumer = self._joined()
        return [_incoming(message) for message in found if message.error() is None]

    def commit(self, messages: Sequence[Incoming]) -> None:
        """Ask for these messages' offsets to be committed, and do not wait: what is not committed is read again."""
        try:
            self._consumer.commit(offsets=_positions(messages, max, 1), asynchronous=True)
        except KafkaException as err:
            self._note(err.args[0], [])

    def committed(self, partition: tuple[str, int]) -> int:
        """Return the offset that is committed for certain, by us, for this topic and partition; 0 if none is known."""
        return self._committed.get(partition, 0)

    def _note(self, error: KafkaError | None, positions: Sequence[TopicPartition]) -> None:
        for wrong in [error, *(position.error for position in positions)]:
            if wrong is not None:
                _log.warning("offsets_not_committed", error=wrong.name())
        if error is None:
            self._committed |= {(each.topic, each.partition): each.offset for each in positions if each.error is None}

    def seek_back(self, messages: Sequence[Incoming]) -> None:
        """Have these messages read again, beginning with the first of each partition."""
        for position in _positions(messages, min, 0):
            try:
                self._consumer.seek(position)
            except KafkaException as err:  # it is another member's by now, who begins at the committed offset
                _log.warning("partition_gone", topic=position.topic, partition=position.partition, error=name_of(err))

    def close(self) -> None:
        """Commit what is still to be committed and leave the group, so that others take over at once.

        Takes as long as the brokers take to answer: wait for it no longer than you can.
        """
        self._consumer.close()


def _positions(messages: Sequence[Incoming], which: Any, beyond: int) -> list[TopicPartition]:
    offsets: dict[tuple[str, int], int] = {}
    for message in messages:
        place = (message.topic, message.partition)
        offsets[place] = which(offsets.get(place, message.offset), message.offset)
    return [TopicPartition(topic, partition, offset + beyond) for (topic, partition), offset in offsets.items()]


def _incoming(message: Message) -> Incoming:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None, "a message that is no error has a place"
    assert partition is not None
    assert offset is not None
    try:
        headers = [(name, _bytes(value)) for name, value in message.headers() or ()]
    except ValueError:  # a name that is no UTF-8
        headers = [(_UNREADABLE, None)]
    return Incoming(topic, partition, offset, _bytes(message.key()), _bytes(message.value()), tuple(headers))


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
