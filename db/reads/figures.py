"""Count purchases by ending, steps by outcome, events by type, and what waits to be delivered."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.reads.events import Backlog, backlog
from db.tables import OutboxEvent, PurchaseStart, PurchaseStep

_PURCHASES = select(col(PurchaseStart.ending), col(PurchaseStart.code), func.count()).group_by(
    col(PurchaseStart.ending), col(PurchaseStart.code)
)
_STEPS = select(col(PurchaseStep.step), col(PurchaseStep.state), func.count()).group_by(
    col(PurchaseStep.step), col(PurchaseStep.state)
)
_EVENTS = select(col(OutboxEvent.type), func.count()).group_by(col(OutboxEvent.type))

Labelled = dict[tuple[str, ...], int]


@dataclass(frozen=True)
class Figures:
    """`purchases` by (ending, code), an empty ending: not ended; `steps` by (step, state); `events` by (type,)."""

    purchases: Labelled
    steps: Labelled
    events: Labelled
    backlog: Backlog


async def figures(conn: AsyncConnection) -> Figures:
    """Return all of these counts, of one moment if the caller's transaction has one."""
    purchases: Labelled = {(ending or "", code or ""): count for ending, code, count in await conn.execute(_PURCHASES)}
    steps: Labelled = {(step, state): count for step, state, count in await conn.execute(_STEPS)}
    events: Labelled = {(kind,): count for kind, count in await conn.execute(_EVENTS)}
    return Figures(purchases, steps, events, await backlog(conn))
