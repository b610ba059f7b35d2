"""Requests to act on many purchases at once: store who asked and who confirmed, and sum up the money concerned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import row_as


@dataclass(frozen=True)
class BulkRequestRow:
    """The first request under a key. `said` holds the values and the filter of the act. `covers` holds the purchases
    that matched when the request began to wait for a second person, then those that matched when that person confirmed
    it; None: it never waited. `reason` is the first person's."""

    verb: str
    said: dict[str, Any]
    actor: str
    reason: str
    second_actor: str | None
    covers: list[str] | None


_ASK = text(
    """
    INSERT INTO bulk_requests (request_key, verb, said, actor, reason, asked_at)
    VALUES (:request_key, :verb, CAST(:said AS jsonb), :actor, :reason, :now)
    ON CONFLICT DO NOTHING
    """
)
# Raw: it locks. Whoever comes at the same time waits for the row, and then sees who was first.
_KEPT = text(
    "SELECT verb, said, actor, reason, second_actor, covers FROM bulk_requests WHERE request_key = :request_key FOR UPDATE"
)
_AWAIT = text(
    """
    UPDATE bulk_requests SET actor = :actor, reason = :reason, asked_at = :now, covers = CAST(:covers AS text[])
     WHERE request_key = :request_key AND covers IS NULL AND second_actor IS NULL
    """
)
_CONFIRM = text(
    """
    UPDATE bulk_requests SET second_actor = :second_actor, confirmed_at = :now, covers = CAST(:covers AS text[])
     WHERE request_key = :request_key AND second_actor IS NULL
    """
)
# Raw: a sum over any number of purchases. A purchase whose payment line is not known here has no amount: then the sum
# is not known either.
_AMOUNT = text(
    """
    SELECT CASE WHEN bool_and(start.purchase_id IS NOT NULL AND (start.payment_id IS NULL OR line.payment_id IS NOT NULL))
           THEN coalesce(sum(line.amount_minor), 0) END
      FROM unnest(CAST(:ids AS text[])) AS asked (id)
      LEFT JOIN purchase_starts AS start ON start.purchase_id = asked.id
      LEFT JOIN payment_lines AS line ON line.payment_id = start.payment_id AND line.line = start.line
    """
)


async def ask_for_bulk(
    conn: AsyncConnection, request_key: str, verb: str, said: dict[str, Any], actor: str, reason: str, now: datetime
) -> BulkRequestRow:
    """Store the request unless its key has one already; return the stored one, with its row locked."""
    values: dict[str, Any] = {
        "request_key": request_key, "verb": verb, "said": json.dumps(said), "actor": actor, "reason": reason, "now": now,
    }  # fmt: skip
    await conn.execute(_ASK, values)
    return row_as(BulkRequestRow, await conn.execute(_KEPT, {"request_key": request_key}))


async def await_second_person(
    conn: AsyncConnection, request_key: str, actor: str, reason: str, covers: Sequence[str], now: datetime
) -> None:
    """Make the request wait for a second person; `actor` becomes the first, whoever acted alone under the key before.

    A request that waits already or was confirmed stays as it is.
    """
    values = {"request_key": request_key, "actor": actor, "reason": reason, "covers": list(covers), "now": now}
    await conn.execute(_AWAIT, values)


async def confirm_bulk(
    conn: AsyncConnection, request_key: str, second_actor: str, covers: Sequence[str], now: datetime
) -> None:
    """Record that a second person confirmed these purchases; of several such persons only the first is recorded."""
    values = {"request_key": request_key, "second_actor": second_actor, "covers": list(covers), "now": now}
    await conn.execute(_CONFIRM, values)


async def amount_of(conn: AsyncConnection, purchase_ids: Sequence[str]) -> int | None:
    """Return what these purchases cost together, in minor units; None when the amount of one of them is not known."""
    if not purchase_ids:
        return 0
    amount = (await conn.execute(_AMOUNT, {"ids": list(purchase_ids)})).scalar_one()
    return None if amount is None else int(amount)
