"""The consumer process brings events of other systems from Kafka into the event door.

`python -m consumer` runs until SIGTERM or SIGINT. Any number of consumers may run. An offset is committed only after
what became of its message is stored: its workflows started, or the message kept as a dead letter after three tries.
While Temporal, PostgreSQL or Kafka do not answer nothing is refused and nothing committed: the same messages are read
again.

Exit codes: 0 stopped as asked, 1 a setting is wrong, 3 there is no database.
"""

from __future__ import annotations

import asyncio

import structlog

from application.consume_events import Consumer
from application.wiring import open_services
from gateways.kafka_errors import KafkaMisconfigured
from gateways.kafka_in import KafkaIn
from gateways.kafka_out import KafkaOut
from runtime.leaving import leave
from runtime.process import run
from runtime.settings import Settings, SettingsError
from runtime.stopping import asked_to_stop

log = structlog.stdlib.get_logger()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Consume until `stop`, then leave the group. Raises KafkaMisconfigured."""
    servers, extras = settings.kafka_servers, settings.kafka_extras
    async with open_services(settings) as services:
        dead = KafkaOut(servers, settings.kafka_topic_dead, extras)
        inbox = KafkaIn(servers, settings.kafka_topic_in, settings.kafka_group, extras)
        consumer = Consumer(services, inbox, dead, settings.heartbeat_folder)
        try:
            await consumer.check()
            log.info("consumer_serves", topic=settings.kafka_topic_in, group=settings.kafka_group)
            await consumer.run(stop)
        finally:
            await consumer.close()
            log.info("consumer_stops")


async def _until_asked(settings: Settings) -> None:
    try:
        await serve(settings, asked_to_stop())
    except KafkaMisconfigured as err:
        raise SettingsError(f"KAFKA_OPTIONS: {err}") from None


def main() -> int:
    """Run the consumer process and return its exit code."""
    return run("consumer", _until_asked)


if __name__ == "__main__":
    leave(main())
