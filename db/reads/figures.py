"""Counts for those who watch the whole: purchases by ending, steps by outcome, what the outbox still owes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.reads.events import Backlog, backlog

_PURCHASES = text("SELECT coalesce(ending, ''), coalesce(code, ''), count(*) FROM purchase_starts GROUP BY 1, 2")
_STEPS = text("SELECT step, state, count(*) FROM purchase_steps GROUP BY 1, 2")
_EVENTS = text("SELECT type, count(*) FROM outbox GROUP BY 1")

Labelled = dict[tuple[str, ...], int]


@dataclass(frozen=True)
class Figures:
    """`purchases` by (ending, code), an empty ending: not ended; `steps` by (step, state); `events` by (type,)."""

    purchases: Labelled
    steps: Labelled
    events: Labelled
    backlog: Backlog


async def figures(conn: AsyncConnection) -> Figures:
    """All of them, in one transaction's view if the caller has one."""
    purchases, steps, events = [
        {tuple(labels): count for *labels, count in await conn.execute(asked)}
        for asked in (_PURCHASES, _STEPS, _EVENTS)
    ]
    return Figures(purchases, steps, events, await backlog(conn))
