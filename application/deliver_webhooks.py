"""Deliver events to webhook targets: each target on its own, each subject in order, with growing pauses after failures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from application.publish_outbox import body_of
from db.sealing import NoKey, Seal, SecretUnreadable
from db.webhooks import Due, claim_deliveries, delivery_tried, due_in, hold_deliveries, seal_secrets, secret_of
from domain.ids import event_id_of
from gateways.webhooks import Webhooks
from runtime.heartbeat import beat
from runtime.stopping import rest

_TO_ONE = 20  # deliveries of one round to one target
_LOOK_AGAIN = 5.0  # seconds between looks when no bell rings
_AT_MOST_EVERY = 0.1  # seconds; while it rings all the time, a look finds more
_PAUSE = 0.5  # seconds between tries when the database does not answer
_SEAL_AGAIN = 60.0  # seconds between looks for secrets that are not sealed with the first key

log = structlog.stdlib.get_logger()


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
