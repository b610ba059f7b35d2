"""Read a student's coins: the balance, and what moved it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import rows_as
from db.tables import CoinBalance, CoinMovement, Student

MOVEMENTS_SHOWN = 100


@dataclass(frozen=True)
class Movement:
    """Coins that came (above 0) or went. `kind`: opening, top_up, redemption, recredit; the latter two name a purchase."""

    kind: str
    coins: int
    purchase_id: str | None
    actor: str | None
    reason: str | None
    moved_at: datetime


_BALANCE = (
    select(func.coalesce(col(CoinBalance.coins), 0))
    .select_from(Student)
    .outerjoin(CoinBalance, col(CoinBalance.student_id) == col(Student.id))
    .where(col(Student.id) == bindparam("id"))
)
_NEWEST = (
    select(
        col(CoinMovement.kind),
        col(CoinMovement.coins),
        col(CoinMovement.purchase_id),
        col(CoinMovement.actor),
        col(CoinMovement.reason),
        col(CoinMovement.moved_at),
    )
    .where(col(CoinMovement.student_id) == bindparam("id"))
    .order_by(col(CoinMovement.moved_at).desc(), col(CoinMovement.key))
    .limit(MOVEMENTS_SHOWN)
)


async def balance_of(conn: AsyncConnection, student_id: str, own: str | None) -> int | None:
    """Return the student's balance, None when there is no such student or it is not `own` (None: everybody)."""
    if own not in (None, student_id):
        return None
    return (await conn.execute(_BALANCE, {"id": student_id})).scalar_one_or_none()


async def movements_of(conn: AsyncConnection, student_id: str) -> list[Movement]:
    """Return the last MOVEMENTS_SHOWN movements, newest first."""
    return rows_as(Movement, await conn.execute(_NEWEST, {"id": student_id}))
