"""The relay process publishes the events that the outbox holds. `python -m relay` runs until SIGTERM or SIGINT.

Any number of relays may run. The database wakes them when there is something, and now and then they look by themselves.
With Kafka an event is sent to its topic and marked once the delivery report is there; without Kafka it is logged and
marked. From then on it is owed to every webhook target that wants it. Events are sent at least once, under the same id,
and those of one subject in order.

Exit codes: 0 stopped as asked, 1 a setting is wrong, 3 there is no database. One that does not answer is waited for.
"""

from __future__ import annotations

import asyncio

import structlog

from application.deliver_webhooks import deliver, keep_sealed
from application.publish_outbox import Publisher, ToLog, publish, to_kafka
from db.engine import make_async_engine
from db.notices import ring
from db.sealing import Seal
from gateways.kafka_errors import KafkaMisconfigured
from gateways.webhooks import Webhooks
from runtime.errors import ServerUnreachable
from runtime.leaving import leave
from runtime.process import run
from runtime.settings import Settings, SettingsError
from runtime.stopping import asked_to_stop

log = structlog.stdlib.get_logger()


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
    stop = asked_to_stop()
    try:
        publisher = await to_kafka(settings) if settings.kafka_bootstrap_servers else ToLog()
    except KafkaMisconfigured as err:
        raise SettingsError(f"KAFKA_OPTIONS: {err}") from None
    await serve(settings, publisher, stop)


def main() -> int:
    """Run the relay process and return its exit code."""
    return run("relay", _until_asked)


if __name__ == "__main__":
    leave(main())
