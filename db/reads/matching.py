"""Read how a purchase came by its trainer: every allocation there was, and the last search that found nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import optional_row_as, rows_as
from db.tables import RefusedMatching, Trainer


@dataclass(frozen=True)
class Matched:
    """An allocation and how it was decided. `won` and `lost` as the choice stored them; `lessons`: how many it holds."""

    allocation_id: str
    trainer_id: str
    status: str
    won: dict[str, Any]
    lost: dict[str, str]
    decided_by: str
    created_at: datetime
    cancelled_at: datetime | None
    held_before: bool
    lessons: int
    first_local: datetime | None
    zone: str | None


@dataclass(frozen=True)
class Unmatched:
    """Why no trainer was taken; `refused_at`: when this result was first found."""

    code: str
    message: str
    lost: dict[str, str]
    decided_by: str
    refused_at: datetime


# Raw: each allocation with what its slots come to.
_MATCHED = text(
    """
    SELECT a.id AS allocation_id, a.trainer_id, a.status, a.won, a.lost, a.decided_by, a.created_at, a.cancelled_at,
           a.hold_expires_at IS NOT NULL AS held_before,
           slots.lessons, slots.first_local, slots.zone
      FROM allocations a
      LEFT JOIN LATERAL (SELECT count(*) AS lessons, min(local_start) AS first_local, min(zone) AS zone
                           FROM trainer_slots s WHERE s.allocation_id = a.id) AS slots ON true
     WHERE a.purchase_id = :id
     ORDER BY a.status = 'cancelled', a.created_at DESC
    """
)


_UNMATCHED = select(
    col(RefusedMatching.code),
    col(RefusedMatching.message),
    col(RefusedMatching.lost),
    col(RefusedMatching.decided_by),
    col(RefusedMatching.refused_at),
).where(col(RefusedMatching.purchase_id) == bindparam("id"))
_NAMES = select(col(Trainer.id), col(Trainer.name)).where(col(Trainer.id).in_(bindparam("ids", expanding=True)))


async def matched_of(conn: AsyncConnection, purchase_id: str) -> list[Matched]:
    """Return the allocation in force first, then those cancelled, latest first."""
    return rows_as(Matched, await conn.execute(_MATCHED, {"id": purchase_id}))


async def unmatched_of(conn: AsyncConnection, purchase_id: str) -> Unmatched | None:
    """Return the last result of a search that found nobody, None when every search found somebody."""
    return optional_row_as(Unmatched, await conn.execute(_UNMATCHED, {"id": purchase_id}))


async def names_of(conn: AsyncConnection, trainer_ids: Iterable[str]) -> dict[str, str]:
    """Return the names of these trainers, by id."""
    return dict((await conn.execute(_NAMES, {"ids": list(trainer_ids)})).all())
