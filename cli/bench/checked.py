"""Look after the measurement whether every purchase really is what was paid for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.bench.failed import BenchFailed
from cli.bench.marketplace import LESSONS
from domain.purchase import PurchaseOrder

_WHAT = text(
    """
    SELECT coalesce(s.code, s.ending, 'open') AS ended, count(l.number) AS lessons
      FROM purchase_starts s LEFT JOIN sessions l ON l.purchase_id = s.purchase_id AND l.status = 'scheduled'
     WHERE s.purchase_id IN :ids GROUP BY s.purchase_id
    """
).bindparams(bindparam("ids", expanding=True))


async def require_lessons(engine: AsyncEngine, orders: Sequence[PurchaseOrder]) -> None:
    """Raise BenchFailed unless every one of these purchases is completed and has all its lessons."""
    async with engine.connect() as connection:
        rows = await connection.execute(_WHAT, {"ids": [order.purchase_id for order in orders]})
        seen = Counter((row.ended, row.lessons) for row in rows)
    if seen != {("completed", LESSONS): len(orders)}:
        told = ", ".join(f"{count} {ended} with {lessons} lessons" for (ended, lessons), count in seen.items())
        raise BenchFailed(
            f"of {len(orders)} purchases not all completed with {LESSONS} lessons: {told or 'none began'}"
        )
