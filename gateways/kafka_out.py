"""Send messages to a Kafka topic and learn what became of each (librdkafka). Calls block: use a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from gateways.kafka_client import Outgoing, config_of, made, name_of
from gateways.kafka_errors import KafkaMisconfigured

_PATIENCE = 6.0  # seconds until an undelivered message counts as not delivered
_FIRST_ANSWER = 5.0  # seconds to wait at the start; without an answer it is an outage like any other
_TOPIC_PATIENCE = 4.0  # seconds until a topic that nobody knows counts as unknown; it may just have been made
_LARGEST = 1_000_000_000  # bytes before compression, the most the library can: the brokers say what is too large

_log = structlog.get_logger()


class _About(StrEnum):
    """What an error is about, and so who waits: this message for ever, whatever goes to this topic, or all for a while."""

    MESSAGE = "message"
    TOPIC = "topic"
    BROKERS = "brokers"


_OF_MESSAGE = frozenset(
    (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError._BAD_MSG,
        KafkaError._INVALID_ARG,
    )
)
_OF_TOPIC = frozenset(
    (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,  # no name for a topic
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    )
)


@dataclass
class Sent:
    """What became of messages, by id: those `delivered`, those `refused` as they are and why. All others may be sent again.

    `barred`: why the topic takes nothing of ours; `trouble`: why something was not delivered. Both are errors' names.
    """

    delivered: set[str] = field(default_factory=set[str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    barred: str | None = None
    trouble: str | None = None


class KafkaOut:
    """Sends to one topic; a message counts as delivered once the brokers' delivery report is there."""

    def __init__(self, servers: str, topic: str, options: Mapping[str, Any]) -> None:
        self._topic = topic
        self._seen: KafkaError | None = None
        fixed = {"bootstrap.servers": servers, "acks": "all", "enable.idempotence": True}
        usual = {
            "linger.ms": 5,
            "compression.type": "lz4",
            "message.timeout.ms": int(_PATIENCE * 1000),
            "topic.metadata.propagation.max.ms": int(_TOPIC_PATIENCE * 1000),
            "message.max.bytes": _LARGEST,
        }
        self._config = config_of(fixed, usual, options) | {"error_cb": self._note}
        self._producer = made(Producer, self._config)

    def check(self) -> None:
        """Wait for the brokers' first answer, some seconds at most. Raises KafkaMisconfigured when they refuse our login."""
        try:
            self._producer.list_topics(self._topic, timeout=_FIRST_ANSWER)
        except KafkaException as err:
            self._producer.poll(0)
            _log.warning("kafka_trouble", error=name_of(err), seen=self._seen and self._seen.name())
            if self._seen is not None and self._seen.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
                raise KafkaMisconfigured(self._seen.str()) from None

    def publish(self, messages: Sequence[Outgoing]) -> Sent:
        """Send all messages and wait for the brokers' word, some 10 s at most."""
        until = monotonic() + _PATIENCE
        found = self._send(messages)
        if len(messages) > 1:
            # The brokers refuse whole batches, for one of their messages or as too large: believed is what is said of
            # a message alone.
            for message in messages:
                error = found.get(message.id)
                if error is not None and _about(error) is _About.MESSAGE:
                    del found[message.id]
                    if monotonic() < until:
                        found |= self._send([message])
        return self._told(messages, found)

    def _send(self, messages: Sequence[Outgoing]) -> dict[str, KafkaError | None]:
        """Return what the brokers or the library said of each message; nothing of those without an answer in time."""
        found: dict[str, KafkaError | None] = {}
        for message in messages:
            try:
                self._produce(message, partial(found.__setitem__, message.id))
            except KafkaException as err:
                found[message.id] = err.args[0]
            except (BufferError, TypeError, ValueError) as err:
                wrong = KafkaError._QUEUE_FULL if isinstance(err, BufferError) else KafkaError._INVALID_ARG
                found[message.id] = KafkaError(wrong, str(err))
        self._producer.flush(_PATIENCE + 1)  # by then each was delivered or timed out
        if any(error is not None and error.fatal() for error in (*found.values(), self._seen)):
            self._producer = made(Producer, self._config)
        return found

    def _produce(self, message: Outgoing, told: Callable[[KafkaError | None], None]) -> None:
        def report(error: KafkaError | None, _: Message) -> None:
            told(error)

        def send() -> None:
            self._producer.produce(
                self._topic,
                value=message.value,
                key=message.subject,
                headers=list(message.headers),
                on_delivery=report,
            )

        try:
            send()
        except BufferError:  # the queue is full: once it is empty there is room, or never
            self._producer.flush(_PATIENCE + 1)
            send()

    def _told(self, messages: Sequence[Outgoing], found: Mapping[str, KafkaError | None]) -> Sent:
        sent = Sent()
        for message in messages:
            error = found.get(message.id, self._seen or KafkaError(KafkaError._MSG_TIMED_OUT))
            if error is None:
                sent.delivered.add(message.id)
                continue
            _log.warning("message_not_delivered", id=message.id, topic=self._topic, error=error.name())
            # That time is over says little; what the connection said before says more.
            late = error.code() == KafkaError._MSG_TIMED_OUT
            sent.trouble = self._seen.name() if late and self._seen else error.name()
            match _about(error):
                case _About.MESSAGE:
                    sent.refused[message.id] = error.name()
                case _About.TOPIC:
                    sent.barred = error.name()
                case _About.BROKERS:
                    pass
        if len(sent.delivered) == len(messages):
            self._seen = None
        return sent

    def _note(self, error: KafkaError) -> None:
        self._seen = error


def _about(error: KafkaError) -> _About:
    """Return what an error of a message that was to be sent is about."""
    if error.code() in _OF_MESSAGE:
        return _About.MESSAGE
    return _About.TOPIC if error.code() in _OF_TOPIC else _About.BROKERS
