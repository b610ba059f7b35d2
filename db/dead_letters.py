"""Keep dead letters unchanged, store fixes beside them, mark replays; each act is recorded in the same transaction."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from db.refused_messages import digest_of
from db.request_keys import KeyReused
from db.rows import row_as
from db.tables import DeadLetterAct


@dataclass(frozen=True)
class DeadMessage:
    """A message that could not be taken: its place in the topic, its bytes, the reason, and how often it was tried.

    A null value is None. `headers`: as they came.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    payload: bytes | None
    code: str
    detail: str
    tries: int
    headers: Sequence[tuple[str, bytes | None]] = ()

    @property
    def digest(self) -> str:
        """What tells this letter from others."""
        return digest_of(self.key, self.payload)


@dataclass(frozen=True)
class LetterAct:
    """An operator's act on a dead letter, and why it is done; an act with the same `request_key` is done once."""

    request_key: str
    verb: str
    actor: str
    reason: str


@dataclass(frozen=True)
class _LetterState:
    code: str
    fixed: bool
    replayed_at: datetime | None


# Raw, as are those below: who keeps letters may not read them, not even the number given; times are the database's.
_KEEP = text(
    """
    INSERT INTO dead_letters
      (digest, topic, topic_partition, topic_offset, message_key, payload, no_value, headers, code, detail, tries, arrived_at)
    VALUES (:digest, :topic, :partition, :offset, :key, :payload, :no_value, CAST(:headers AS jsonb), :code, :detail, :tries, now())
    ON CONFLICT DO NOTHING
    """
)
_TOPIC_SAYS = text("UPDATE dead_letters SET topic_says = :why WHERE digest = :digest")
# Whoever acts on a letter holds its row until the act is on record: of two at once the second sees the first.
_HOLD = text("SELECT code, fixed_payload IS NOT NULL AS fixed, replayed_at FROM dead_letters WHERE id = :id FOR UPDATE")
_ACTED = select(
    col(DeadLetterAct.verb), col(DeadLetterAct.reason), col(DeadLetterAct.after), col(DeadLetterAct.outcome)
).where(
    col(DeadLetterAct.dead_letter_id) == bindparam("id"), col(DeadLetterAct.request_key) == bindparam("request_key")
)
_FIX = text("UPDATE dead_letters SET fixed_payload = :payload WHERE id = :id")
_REPLAYED = text("UPDATE dead_letters SET replayed_at = coalesce(replayed_at, now()) WHERE id = :id")
_REFUSED = text("UPDATE dead_letters SET code = :code, detail = :detail WHERE id = :id AND replayed_at IS NULL")
_ACT = text(
    """
    INSERT INTO dead_letter_acts
      (dead_letter_id, request_key, verb, actor, reason, before, after, outcome, acted_at)
    VALUES (:id, :request_key, :verb, :actor, :reason, CAST(:before AS jsonb), CAST(:after AS jsonb), :outcome, now())
    """
)


async def keep_dead_letter(engine: AsyncEngine, dead: DeadMessage) -> None:
    """Store the message; one with the same key and payload is the same letter and is stored once."""
    headers = [[name, value if value is None else base64.b64encode(value).decode()] for name, value in dead.headers]
    values = {**vars(dead), "digest": dead.digest, "headers": json.dumps(headers) if headers else None}
    values |= {"payload": dead.payload or b"", "no_value": dead.payload is None}
    async with engine.begin() as conn:
        await conn.execute(_KEEP, values)


async def topic_says(engine: AsyncEngine, dead: DeadMessage, why: str) -> None:
    """Note why the topic of dead letters did not take this letter, or only a reference to it."""
    async with engine.begin() as conn:
        await conn.execute(_TOPIC_SAYS, {"digest": dead.digest, "why": why})


async def acted_before(conn: AsyncConnection, letter_id: int, act: LetterAct, payload: str | None = None) -> str | None:
    """Return the outcome of this act if it was recorded before, else None; `payload` is the one a fix stores.

    Raises KeyReused when the key was used for another act on this letter.
    """
    row = (await conn.execute(_ACTED, {"id": letter_id, "request_key": act.request_key})).one_or_none()
    if row is None:
        return None
    verb, reason, after, outcome = row
    if (verb, reason) != (act.verb, act.reason) or after.get("payload") != payload:
        raise KeyReused
    return outcome


async def fix_letter(engine: AsyncEngine, letter_id: int, payload: str, act: LetterAct) -> str:
    """Store a fixed payload beside the original; the latest counts. Return the outcome, or the first of this key."""
    return await _once(engine, letter_id, act, _FIX, {"payload": payload}, "fixed", {"payload": payload})


async def letter_replayed(engine: AsyncEngine, letter_id: int, outcome: str, act: LetterAct) -> str:
    """Mark the letter replayed, as its event was taken. Return the outcome, or the first one of this key."""
    return await _once(engine, letter_id, act, _REPLAYED, {}, outcome, {"replayed": True})


async def letter_refused(engine: AsyncEngine, letter_id: int, code: str, detail: str, act: LetterAct) -> str:
    """Store why a letter's event was refused again. Return the outcome, or the first one of this key."""
    return await _once(engine, letter_id, act, _REFUSED, {"code": code, "detail": detail}, code, {"detail": detail})


async def _once(
    engine: AsyncEngine,
    letter_id: int,
    act: LetterAct,
    change: TextClause,
    values: dict[str, Any],
    outcome: str,
    after: dict[str, Any],
) -> str:
    async with engine.begin() as conn:
        letter = row_as(_LetterState, await conn.execute(_HOLD, {"id": letter_id}))
        if first := await acted_before(conn, letter_id, act, values.get("payload")):
            return first
        before = {"code": letter.code, "fixed": letter.fixed, "replayed": letter.replayed_at is not None}
        await conn.execute(change, {"id": letter_id, **values})
        said = {"before": json.dumps(before), "after": json.dumps(after), "outcome": outcome}
        await conn.execute(_ACT, {"id": letter_id, **vars(act), **said})
        return outcome
