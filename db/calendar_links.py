"""Store private calendar links, one per student and per trainer; only a hash of the token that opens a link is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import optional_row_as
from db.tables import Student, Trainer
from db.tables.lessons import CalendarLink

Kind = Literal["student", "trainer"]


@dataclass(frozen=True)
class Owner:
    """The student or trainer whose lessons a calendar shows."""

    kind: Kind
    id: str


_KNOWN = {
    "student": select(col(Student.id)).where(col(Student.id) == bindparam("id")),
    "trainer": select(col(Trainer.id)).where(col(Trainer.id) == bindparam("id")),
}
# Raw: one that is there is replaced.
_KEEP = text(
    """
    INSERT INTO calendar_links (owner, owner_id, token_hash, made_by, made_at)
    VALUES (:kind, :id, :hash, :actor, :now)
    ON CONFLICT (owner, owner_id) DO UPDATE
       SET token_hash = excluded.token_hash, made_by = excluded.made_by, made_at = excluded.made_at
    """
)
_REMOVE = delete(CalendarLink).where(
    col(CalendarLink.owner) == bindparam("kind"), col(CalendarLink.owner_id) == bindparam("id")
)
# Raw: under the names of an Owner.
_OWNER = text("SELECT owner AS kind, owner_id AS id FROM calendar_links WHERE token_hash = :hash")


async def is_known(conn: AsyncConnection, owner: Owner) -> bool:
    """Return whether there is such a student or trainer."""
    return (await conn.execute(_KNOWN[owner.kind], {"id": owner.id})).one_or_none() is not None


async def keep_link(conn: AsyncConnection, owner: Owner, token: str, actor: str, now: datetime) -> None:
    """Make this token the only one that opens the owner's calendar."""
    await conn.execute(_KEEP, {**vars(owner), "hash": _hash(token), "actor": actor, "now": now})


async def remove_link(conn: AsyncConnection, owner: Owner) -> None:
    """Remove the owner's link, so that no token opens the calendar; do nothing without a link."""
    await conn.execute(_REMOVE, vars(owner))


async def owner_of(conn: AsyncConnection, token: str) -> Owner | None:
    """Return the owner whose calendar this token opens, None when it opens none."""
    return optional_row_as(Owner, await conn.execute(_OWNER, {"hash": _hash(token)}))


def _hash(token: str) -> str:
    """Hash a token, fast on purpose: a token is as long as its hash, so it cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()
