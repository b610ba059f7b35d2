"""Webhook targets and the deliveries owed to each: claimed with a lease, retried with pauses, given up at last.

Their secrets are stored sealed. Deliveries of a target whose secret cannot be opened are held: no try is used up.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from db.rows import rows_as
from db.sealing import Seal, SecretUnreadable
from db.tables import WebhookTarget

MAX_ATTEMPTS = 80  # with the pauses below, some three days
_PAUSE = 5  # seconds after the first failure, doubling ...
_LONGEST_PAUSE = 3600  # ... up to this
_LEASE = 60  # seconds in which a claimed delivery is nobody else's; longer than one try takes
_HELD = 60  # seconds until a held delivery is looked at again


@dataclass(frozen=True)
class TargetRow:
    """A live target with counts of its deliveries; its secret is shown only once, when the target is made."""

    id: str
    url: str
    event_types: list[str]
    created_at: datetime
    delivered: int
    waiting: int
    given_up: int
    last_answer: str | None


@dataclass(frozen=True)
class Due:
    """One claimed delivery that is to be tried now."""

    target_id: str
    url: str
    event_id: int
    key: str
    type: str
    data: dict[str, Any]
    occurred_at: datetime
    tries: int


# Raw, as are those below that change rows: times are the database's.
_ADD = text(
    """
    INSERT INTO webhook_targets (id, url, sealed_secret, event_types, created_at)
    VALUES (:id, :url, :sealed, CAST(:event_types AS jsonb), now())
    ON CONFLICT (url) WHERE removed_at IS NULL DO NOTHING
    RETURNING id
    """
)
_REMOVE = text(
    """
    UPDATE webhook_targets SET removed_at = now(), secret = NULL, sealed_secret = NULL
     WHERE id = :id AND removed_at IS NULL RETURNING id
    """
)
_SECRETS = select(col(WebhookTarget.id), col(WebhookTarget.secret), col(WebhookTarget.sealed_secret)).where(
    col(WebhookTarget.removed_at).is_(None)
)
_SECRET = _SECRETS.where(col(WebhookTarget.id) == bindparam("id"))
# Only if it is still what was read: of several at once one seals it, and a removed target gets none back.
_RESEAL = text(
    """
    UPDATE webhook_targets SET secret = NULL, sealed_secret = :new
     WHERE id = :id AND removed_at IS NULL
       AND secret IS NOT DISTINCT FROM :secret AND sealed_secret IS NOT DISTINCT FROM :sealed_secret
    """
)
# Of targets that code of before removed.
_FORGET = text(
    """
    UPDATE webhook_targets SET secret = NULL, sealed_secret = NULL
     WHERE removed_at IS NOT NULL AND num_nonnulls(secret, sealed_secret) > 0
    """
)
_HOLD = text(
    """
    UPDATE webhook_deliveries SET answer = :why, next_try_at = now() + make_interval(secs => :pause)
     WHERE target_id = :target AND delivered_at IS NULL AND given_up_at IS NULL AND next_try_at <= now()
    """
)
_TARGETS = text(
    """
    SELECT target.id, target.url, target.event_types, target.created_at,
           count(delivered_at) AS delivered, count(given_up_at) AS given_up,
           count(delivery.event_id) - count(delivered_at) - count(given_up_at) AS waiting,
           (array_agg(answer ORDER BY delivery.event_id DESC) FILTER (WHERE answer IS NOT NULL))[1] AS last_answer
      FROM webhook_targets AS target LEFT JOIN webhook_deliveries AS delivery ON delivery.target_id = target.id
     WHERE target.removed_at IS NULL
     GROUP BY target.id ORDER BY target.created_at, target.id
    """
)
# Of each subject the first that is open decides: until it is done the later ones wait, however long they are due.
_DUE_IN = text(
    """
    SELECT target.id, extract(epoch FROM due.at - now())::float8 AS seconds
      FROM webhook_targets AS target CROSS JOIN LATERAL (
        SELECT min(next_try_at) AS at FROM (
          SELECT DISTINCT ON (subject) next_try_at FROM webhook_deliveries
           WHERE target_id = target.id AND delivered_at IS NULL AND given_up_at IS NULL
           ORDER BY subject, event_id) AS first) AS due
     WHERE target.removed_at IS NULL AND NOT (target.id = ANY(:busy)) AND due.at IS NOT NULL
    """
)
_CLAIM = text(
    """
    WITH due AS (
      SELECT target_id, event_id FROM webhook_deliveries AS delivery
       WHERE target_id = :target AND delivered_at IS NULL AND given_up_at IS NULL AND next_try_at <= now()
         AND NOT EXISTS (
           SELECT FROM webhook_deliveries AS earlier
            WHERE earlier.target_id = delivery.target_id AND earlier.subject = delivery.subject
              AND earlier.event_id < delivery.event_id
              AND earlier.delivered_at IS NULL AND earlier.given_up_at IS NULL)
       ORDER BY event_id LIMIT :limit
         FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE webhook_deliveries AS delivery
         SET tries = tries + 1, next_try_at = now() + make_interval(secs => :lease)
        FROM due WHERE delivery.target_id = due.target_id AND delivery.event_id = due.event_id
      RETURNING delivery.target_id, delivery.event_id, delivery.tries
    )
    SELECT claimed.target_id, target.url, claimed.event_id, event.key, event.type, event.data,
           event.occurred_at, claimed.tries
      FROM claimed JOIN webhook_targets AS target ON target.id = claimed.target_id
      JOIN outbox AS event ON event.id = claimed.event_id
     ORDER BY claimed.event_id
    """
)
# Of a lease that ran out somebody else may have made the next try: only the latest one's word counts.
_TRIED = text(
    """
    UPDATE webhook_deliveries
       SET answer = :answer,
           delivered_at = CASE WHEN :delivered THEN now() END,
           given_up_at = CASE WHEN NOT :delivered AND tries >= :most THEN now() END,
           next_try_at = now() + make_interval(secs => :pause)
     WHERE target_id = :target AND event_id = :event AND tries = :tries AND delivered_at IS NULL
    """
)


def _one_of_both(sealed: str | None) -> str:
    """Return the sealed secret of a live target without a plain one: a CHECK holds that it has just one of them."""
    assert sealed is not None
    return sealed


async def add_target(engine: AsyncEngine, target_id: str, url: str, sealed: str, event_types: Sequence[str]) -> bool:
    """Add a webhook target; return False when a live one has this URL. `sealed`: its secret, by `Seal.close`."""
    values = {"id": target_id, "url": url, "sealed": sealed, "event_types": json.dumps(list(event_types))}
    async with engine.begin() as conn:
        return (await conn.execute(_ADD, values)).scalar_one_or_none() is not None


async def remove_target(engine: AsyncEngine, target_id: str) -> bool:
    """End deliveries to the target; its record stays, without the secret. Return False when there is no such target."""
    async with engine.begin() as conn:
        return (await conn.execute(_REMOVE, {"id": target_id})).scalar_one_or_none() is not None


async def secret_of(engine: AsyncEngine, target_id: str, seal: Seal) -> str | None:
    """Return the secret that signs deliveries to this target, None when it is removed. Raises SecretUnreadable."""
    async with engine.connect() as conn:
        row = (await conn.execute(_SECRET, {"id": target_id})).one_or_none()
    if row is None:
        return None
    _, secret, sealed = row
    return secret or seal.open(_one_of_both(sealed))


async def seal_secrets(engine: AsyncEngine, seal: Seal) -> int:
    """Seal with the first key every secret stored plain or sealed with another; return how many.

    Safe to run in parallel.

    A secret that no key opens stays as it is; those of removed targets are deleted. Raises NoKey.
    """
    sealed = 0
    async with engine.connect() as conn:
        rows = (await conn.execute(_SECRETS)).all()
    for target_id, secret, sealed_secret in rows:
        if secret is None and seal.is_newest(_one_of_both(sealed_secret)):
            continue
        try:
            new = seal.close(secret or seal.open(_one_of_both(sealed_secret)))
        except SecretUnreadable:
            continue
        stored = {"id": target_id, "secret": secret, "sealed_secret": sealed_secret}
        async with engine.begin() as conn:
            sealed += (await conn.execute(_RESEAL, {**stored, "new": new})).rowcount
    async with engine.begin() as conn:
        await conn.execute(_FORGET)
    return sealed


async def targets(conn: AsyncConnection) -> list[TargetRow]:
    """Return every live target, oldest first."""
    return rows_as(TargetRow, await conn.execute(_TARGETS))


async def due_in(engine: AsyncEngine, busy: Collection[str]) -> dict[str, float]:
    """Return in how many seconds there is something to deliver to each target, 0 or less: now; without those in `busy`.

    Targets that are owed nothing are left out.
    """
    async with engine.connect() as conn:
        return {row.id: row.seconds for row in await conn.execute(_DUE_IN, {"busy": list(busy)})}


async def claim_deliveries(engine: AsyncEngine, target_id: str, limit: int) -> list[Due]:
    """Claim the next due delivery of each subject to this target, at most `limit`, for a minute."""
    async with engine.begin() as conn:
        return rows_as(Due, await conn.execute(_CLAIM, {"target": target_id, "limit": limit, "lease": _LEASE}))


async def hold_deliveries(engine: AsyncEngine, target_id: str, why: str) -> None:
    """Postpone what is due to this target by a minute, for this reason; as no try is used up, none is given up."""
    async with engine.begin() as conn:
        await conn.execute(_HOLD, {"target": target_id, "why": f"held: {why}", "pause": _HELD})


async def delivery_tried(engine: AsyncEngine, due: Due, answer: str, *, delivered: bool) -> None:
    """Record one try: delivered, to be tried again after a pause, or given up."""
    values = {
        "target": due.target_id,
        "event": due.event_id,
        "tries": due.tries,
        "answer": answer,
        "delivered": delivered,
        "most": MAX_ATTEMPTS,
        "pause": min(_PAUSE * 2 ** min(due.tries - 1, 20), _LONGEST_PAUSE),
    }
    async with engine.begin() as conn:
        await conn.execute(_TRIED, values)
