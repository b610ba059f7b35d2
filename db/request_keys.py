"""A request key names one request: the same request may come again with it, another one is refused (KEY_REUSED)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from db.tables import RequestKey

# Raw: the first of a key stays, at the database's time.
_CLAIM = text("""
INSERT INTO request_keys (door, scope, key, said, used_at) VALUES (:door, :scope, :key, :said, now())
ON CONFLICT (door, scope, key) DO NOTHING
""")
_THIS_KEY = and_(
    col(RequestKey.door) == bindparam("door"),
    col(RequestKey.scope) == bindparam("scope"),
    col(RequestKey.key) == bindparam("key"),
)
# A statement of its own, so that it sees the key of another caller that was waited for.
_SAID = select(col(RequestKey.said)).where(_THIS_KEY)
_ANSWERED = select(col(RequestKey.answered)).where(_THIS_KEY)
_ANSWER = text("UPDATE request_keys SET answered = :answer WHERE door = :door AND scope = :scope AND key = :key")


class KeyReused(Exception):
    """The key came with another request before."""


@dataclass(frozen=True)
class Key:
    """A key that came with a request. `scope`: the caller, or what is acted on; `said`: the content of the request."""

    door: str
    scope: str
    key: str
    said: Mapping[str, Any]


async def claim_in(conn: AsyncConnection, door: str, scope: str, key: str, said: Mapping[str, Any]) -> bool:
    """Claim the key for this request in the caller's transaction; return whether it is new.

    `scope`: the caller, or what is acted on. Raises KeyReused.
    """
    values = {"door": door, "scope": scope, "key": key, "said": digest(said)}
    if (await conn.execute(_CLAIM, values)).rowcount == 1:
        return True
    if (await conn.execute(_SAID, values)).scalar_one() != values["said"]:
        raise KeyReused
    return False


async def claim_key(engine: AsyncEngine, door: str, scope: str, key: str | None, said: Mapping[str, Any]) -> None:
    """Claim the key in a transaction of its own; do nothing without a key. Raises KeyReused."""
    if key is not None:
        async with engine.begin() as conn:
            await claim_in(conn, door, scope, key, said)


async def answered_once(conn: AsyncConnection, key: Key | None, find: Callable[[], Awaitable[str]]) -> str:
    """Return the answer stored for the key, else call `find` and store its answer; without a key only call it.

    Raises KeyReused.
    """
    if key is None:
        return await find()
    values = {"door": key.door, "scope": key.scope, "key": key.key}
    await claim_in(conn, **values, said=key.said)
    before = (await conn.execute(_ANSWERED, values)).scalar_one()
    if before is not None:
        return before
    answer = await find()
    await conn.execute(_ANSWER, {**values, "answer": answer})
    return answer


def digest(said: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a request, the same whatever the order of its fields."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
