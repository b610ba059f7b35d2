"""What sending to Kafka and reading from it share: messages, options, names of errors. Needs the extra `kafka`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException

from gateways.kafka_errors import KafkaMisconfigured

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Outgoing:
    """A message to send. `subject` decides the partition, so that the order of its messages holds."""

    id: str
    subject: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True)
class Incoming:
    """A message that was read, unchanged, with its place."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def config_of(fixed: Mapping[str, Any], usual: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options together. Raises KafkaMisconfigured for one that would break what we promise."""
    for name in fixed.keys() & options.keys():
        raise KafkaMisconfigured(f"{name} cannot be set: that nothing is lost or doubled depends on it")
    return {**usual, **options, **fixed, "logger": logging.getLogger("kafka")}


def made(client: Any, config: Mapping[str, Any]) -> Any:
    try:
        return client(dict(config))
    except (KafkaException, ValueError, TypeError) as err:
        said = err.args[0].str() if isinstance(err, KafkaException) else str(err)
        raise KafkaMisconfigured(said) from None


def name_of(err: Exception) -> str:
    return err.args[0].name() if isinstance(err, KafkaException) else type(err).__name__
