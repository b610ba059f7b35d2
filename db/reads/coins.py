"""A student's coins: the balance, and what moved it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_MOST = 100  # movements shown


@dataclass(frozen=True)
class Movement:
    """Coins that came (above 0) or went. `kind`: opening, top_up, redemption, recredit; the latter two name a purchase."""

    kind: str
    coins: int
    purchase_id: str | None
    actor: str | None
    reason: str | None
    moved_at: datetime


_BALANCE = text(
    """
    SELECT coalesce(balance.coins, 0)
      FROM students LEFT JOIN coin_balances AS balance ON balance.student_id = id WHERE id = :id AND (CAST(:own AS text) IS NULL OR id = :own)
    """
)
_MOVEMENTS = text(
    """
    SELECT kind, coins, purchase_id, actor, reason, moved_at
      FROM coin_movements WHERE student_id = :id ORDER BY moved_at DESC, key LIMIT :most
    """
)


async def balance_of(conn: AsyncConnection, student_id: str, own: str | None) -> int | None:
    """What the student has; None when there is no such student or it is not `own` (None: everybody)."""
    return (await conn.execute(_BALANCE, {"id": student_id, "own": own})).scalar_one_or_none()


async def movements_of(conn: AsyncConnection, student_id: str) -> list[Movement]:
    """The last movements, newest first."""
    rows = (await conn.execute(_MOVEMENTS, {"id": student_id, "most": _MOST})).mappings()
    return [Movement(**row) for row in rows]
