"""Claim events of the outbox and mark them published: any number of relays at once, each subject in order, none lost.

A relay holds the rows it publishes until they are marked. It takes only the first unpublished event of each subject: a
later one is not the first while another relay still holds the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import rows_as


@dataclass(frozen=True)
class OutboxRow:
    """An event that is still to be published."""

    id: int
    key: str
    type: str
    data: dict[str, Any]
    occurred_at: datetime


# Raw: the first of each subject, held, without waiting for others. The subject as `domain.events.subject_of` says it.
# `ahead` is the beginning of what waits, so the first event of a
# subject in it is the first of all; more than it holds need not be sorted to find work.
_CLAIM = text(
    """
    WITH ahead AS (
      SELECT id, regexp_replace(key, ':[^:]*$', '') AS subject
        FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT 2000
    ), first AS (
      SELECT DISTINCT ON (subject) id FROM ahead ORDER BY subject, id
    )
    SELECT event.id, event.key, event.type, event.data, event.occurred_at
      FROM outbox AS event JOIN first ON first.id = event.id
     WHERE event.published_at IS NULL
     ORDER BY event.id LIMIT :limit
       FOR UPDATE OF event SKIP LOCKED
    """
)
# Raw: marked and owed to all who want it in one statement.
_PUBLISHED = text(
    """
    WITH told AS (
      UPDATE outbox SET published_at = now() WHERE id = ANY(:ids) RETURNING id, key, type
    )
    INSERT INTO webhook_deliveries (target_id, event_id, subject, next_try_at)
    SELECT target.id, told.id, regexp_replace(told.key, ':[^:]*$', ''), now()
      FROM told JOIN webhook_targets AS target
        ON target.removed_at IS NULL AND (target.event_types = '[]' OR target.event_types ? told.type)
    """
)


async def claim_events(conn: AsyncConnection, limit: int) -> list[OutboxRow]:
    """Return up to `limit` events to publish now, oldest first, locked until the caller's transaction ends."""
    return rows_as(OutboxRow, await conn.execute(_CLAIM, {"limit": limit}))


async def events_published(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """Mark these events published and create one pending delivery per subscribed webhook target."""
    await conn.execute(_PUBLISHED, {"ids": list(ids)})
