"""Read events: those that were taken, the dead letters, and those still to be delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import optional_row_as, row_as, rows_as
from db.tables import DeadLetterAct, TakenEvent


@dataclass(frozen=True)
class LetterRow:
    """A dead letter. `payload` and `message_key` are the original bytes; `size` is the payload's, in bytes.

    `headers`: [name, value in base64 or None] each.
    """

    id: int
    topic: str
    topic_partition: int
    topic_offset: int
    message_key: bytes | None
    payload: bytes
    size: int
    code: str
    detail: str
    tries: int
    arrived_at: datetime
    fixed_payload: str | None
    replayed_at: datetime | None
    headers: list[list[str | None]] | None
    topic_says: str | None
    no_value: bool


@dataclass(frozen=True)
class LetterActRow:
    """What an operator did about a dead letter, and what came of it."""

    request_key: str
    verb: str
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    acted_at: datetime


@dataclass(frozen=True)
class Backlog:
    """The outbox events and webhook deliveries that wait, and those given up. Ages in seconds, of the oldest."""

    events: int
    events_age: float
    deliveries: int
    deliveries_age: float
    given_up: int


_COLUMNS = """id, topic, topic_partition, topic_offset, message_key, length(payload) AS size, no_value, code, detail, tries,
              arrived_at, fixed_payload, replayed_at, headers, topic_says"""
# Raw: any of its conditions may be left out. A page shows the beginning of what came, not megabytes of it.
_PAGE = text(
    f"""
    SELECT {_COLUMNS}, substring(payload FOR 200) AS payload FROM dead_letters
     WHERE id > :after AND id <= :until
       AND (CAST(:waiting AS boolean) IS NULL OR (replayed_at IS NULL) = :waiting)
       AND (CAST(:code AS text) IS NULL OR code = :code)
       AND NOT EXISTS (SELECT FROM dead_letter_acts AS act WHERE act.dead_letter_id = id AND act.request_key = :untouched_by)
     ORDER BY id LIMIT :limit
    """  # noqa: S608 -- constants
)
_ONE = text(f"SELECT {_COLUMNS}, payload FROM dead_letters WHERE id = :id")  # noqa: S608 -- constants
_HANDLED_AT = select(col(TakenEvent.handled_at)).where(col(TakenEvent.key) == bindparam("key"))
_ACTS = (
    select(
        col(DeadLetterAct.request_key),
        col(DeadLetterAct.verb),
        col(DeadLetterAct.actor),
        col(DeadLetterAct.reason),
        col(DeadLetterAct.before),
        col(DeadLetterAct.after),
        col(DeadLetterAct.outcome),
        col(DeadLetterAct.acted_at),
    )
    .where(col(DeadLetterAct.dead_letter_id) == bindparam("id"))
    .order_by(col(DeadLetterAct.acted_at), col(DeadLetterAct.request_key))
)
# Raw: three counts in one round trip.
_BACKLOG = text(
    """
    SELECT waiting.events, waiting.age AS events_age, open.deliveries, open.age AS deliveries_age, gone.given_up
      FROM (SELECT count(*) AS events, coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS age
              FROM outbox WHERE published_at IS NULL) AS waiting,
           (SELECT count(*) AS deliveries,
                   coalesce(extract(epoch FROM now() - min(event.published_at)), 0)::float8 AS age
              FROM webhook_deliveries AS delivery
              JOIN webhook_targets AS target ON target.id = delivery.target_id AND target.removed_at IS NULL
              JOIN outbox AS event ON event.id = delivery.event_id
             WHERE delivered_at IS NULL AND given_up_at IS NULL) AS open,
           (SELECT count(*) AS given_up FROM webhook_deliveries WHERE given_up_at IS NOT NULL) AS gone
    """
)
LAST = 2**63 - 1  # no id is larger


async def was_handled(conn: AsyncConnection, key: str) -> bool:
    """Return whether the event of this key was taken before and all it asks for was started."""
    return (await conn.execute(_HANDLED_AT, {"key": key})).scalar_one_or_none() is not None


async def letters(
    conn: AsyncConnection,
    *,
    limit: int,
    after: int = 0,
    until: int = LAST,
    waiting: bool | None = None,
    code: str | None = None,
    untouched_by: str | None = None,
) -> list[LetterRow]:
    """Return dead letters in the order they came, with the first 200 bytes of each; `waiting` None: replayed ones, too.

    `untouched_by`: a request key; letters that it has acted on are left out.
    """
    values = {"after": after, "until": until, "waiting": waiting, "code": code, "limit": limit}
    values["untouched_by"] = untouched_by
    return rows_as(LetterRow, await conn.execute(_PAGE, values))


async def letter(conn: AsyncConnection, letter_id: int) -> LetterRow | None:
    """Return one dead letter with its whole payload, None when there is none of this id."""
    return optional_row_as(LetterRow, await conn.execute(_ONE, {"id": letter_id}))


async def letter_acts(conn: AsyncConnection, letter_id: int) -> list[LetterActRow]:
    """Return the acts of operators on a dead letter, oldest first."""
    return rows_as(LetterActRow, await conn.execute(_ACTS, {"id": letter_id}))


async def backlog(conn: AsyncConnection) -> Backlog:
    """Return how many events and deliveries wait, and for how long."""
    return row_as(Backlog, await conn.execute(_BACKLOG))
