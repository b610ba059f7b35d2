"""Counts for those who watch the whole: purchases by ending, steps by outcome, what the outbox still owes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_PURCHASES = text("SELECT coalesce(ending, ''), coalesce(code, ''), count(*) FROM purchase_starts GROUP BY 1, 2")
_STEPS = text("SELECT step, state, count(*) FROM purchase_steps GROUP BY 1, 2")
_EVENTS = text("SELECT type, count(*) FROM outbox GROUP BY 1")
_OWED = text("""
SELECT count(*), coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float FROM outbox WHERE published_at IS NULL
""")

Labelled = dict[tuple[str, ...], int]


@dataclass(frozen=True)
class Figures:
    """`purchases` by (ending, code), an empty ending: not ended; `steps` by (step, state); `events` by (type,).

    `owed`: events not published yet; `owed_for`: seconds since the oldest of them happened.
    """

    purchases: Labelled
    steps: Labelled
    events: Labelled
    owed: int
    owed_for: float


async def figures(conn: AsyncConnection) -> Figures:
    """All of them, in one transaction's view if the caller has one."""
    purchases, steps, events = [
        {tuple(labels): count for *labels, count in await conn.execute(asked)}
        for asked in (_PURCHASES, _STEPS, _EVENTS)
    ]
    owed, owed_for = (await conn.execute(_OWED)).one()
    return Figures(purchases, steps, events, owed, owed_for)
