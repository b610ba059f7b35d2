"""Count how often each message of a topic was refused, so that three tries are three, also after a restart.

A row lives from the first refusal until the message's offset is committed. It is told from another message at the same
place (a topic made anew) by its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.rows import rows_as


@dataclass(frozen=True)
class Place:
    """Where a message stands, and its digest."""

    topic: str
    topic_partition: int
    topic_offset: int
    digest: str


@dataclass(frozen=True)
class Refusals(Place):
    """How often a message was refused, why the last time, and whether it is settled: nothing is left to do about it."""

    tries: int
    code: str
    detail: str
    settled: bool

    @property
    def place(self) -> Place:
        """Which message it was."""
        return Place(self.topic, self.topic_partition, self.topic_offset, self.digest)


# Raw, as are those below: many places at once.
_FIND = text(
    """
    SELECT refused.topic, refused.topic_partition, refused.topic_offset, refused.digest, tries, code, detail, settled
      FROM refused_messages AS refused
      JOIN unnest(CAST(:topics AS text[]), CAST(:partitions AS bigint[]), CAST(:offsets AS bigint[]))
        AS place (topic, topic_partition, topic_offset) USING (topic, topic_partition, topic_offset)
    """
)
_COUNT = text(
    """
    INSERT INTO refused_messages AS refused (topic, topic_partition, topic_offset, digest, tries, code, detail)
    VALUES (:topic, :topic_partition, :topic_offset, :digest, 1, :code, :detail)
    ON CONFLICT (topic, topic_partition, topic_offset) DO UPDATE
      SET tries = CASE WHEN refused.digest = excluded.digest THEN refused.tries + 1 ELSE 1 END,
          settled = refused.settled AND refused.digest = excluded.digest,
          digest = excluded.digest, code = excluded.code, detail = excluded.detail
    RETURNING tries
    """
)
_SETTLE = text(
    """
    UPDATE refused_messages SET settled = true
     WHERE topic = :topic AND topic_partition = :topic_partition AND topic_offset = :topic_offset AND digest = :digest
    """
)
_FORGET = text(
    """
    DELETE FROM refused_messages
     WHERE topic = :topic AND topic_partition = :topic_partition AND topic_offset <= :topic_offset
    """
)


def digest_of(key: bytes | None, payload: bytes | None) -> str:
    """Return what tells a message from others: a digest of its key and value. No value and an empty one differ."""
    begin = b"%d:" % len(key or b"") + (key or b"")
    return hashlib.sha256(begin + payload if payload is not None else b"null:" + begin).hexdigest()


async def refusals_of(
    engine: AsyncEngine, places: Sequence[tuple[str, int, int]]
) -> dict[tuple[str, int, int], Refusals]:
    """Return by topic, partition and offset what was refused at these places before."""
    topics, partitions, offsets = ([place[part] for place in places] for part in range(3))
    async with engine.connect() as conn:
        found = await conn.execute(_FIND, {"topics": topics, "partitions": partitions, "offsets": offsets})
        return {(row.topic, row.topic_partition, row.topic_offset): row for row in rows_as(Refusals, found)}


async def count_refusal(engine: AsyncEngine, place: Place, code: str, detail: str) -> int:
    """Count one more refusal; return how many there were by now."""
    async with engine.begin() as conn:
        return (await conn.execute(_COUNT, {**vars(place), "code": code, "detail": detail})).scalar_one()


async def settle_refused(engine: AsyncEngine, place: Place) -> None:
    """Remember that nothing is left to do about this message."""
    async with engine.begin() as conn:
        await conn.execute(_SETTLE, vars(place))


async def forget_refusals(engine: AsyncEngine, last: Sequence[Place]) -> None:
    """Forget the refusals of messages up to and with these, one per partition: they do not come again."""
    async with engine.begin() as conn:
        for place in last:
            await conn.execute(_FORGET, vars(place))
