"""Read the progress events of a purchase."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import rows_as
from db.tables import PurchaseProgress

_AFTER = (
    select(
        col(PurchaseProgress.number), col(PurchaseProgress.kind), col(PurchaseProgress.facts), col(PurchaseProgress.at)
    )
    .where(
        col(PurchaseProgress.purchase_id) == bindparam("purchase_id"),
        col(PurchaseProgress.number) > bindparam("after"),
    )
    .order_by(col(PurchaseProgress.number))
)


@dataclass(frozen=True)
class ProgressEvent:
    """One thing that changed. `kind`: started, step, attention or ended; numbers go up by one per purchase."""

    number: int
    kind: str
    facts: dict[str, Any]
    at: datetime


def steps_told(told: Iterable[ProgressEvent]) -> list[ProgressEvent]:
    """Return the events of steps that were done, and of undone ones that had been done before."""
    done: set[str] = set()
    found: list[ProgressEvent] = []
    for each in told:
        if each.kind != "step":
            continue
        name, state = each.facts["step"], each.facts["state"]
        if state == "done" or name in done:
            found.append(each)
        (done.add if state == "done" else done.discard)(name)
    return found


async def progress_after(conn: AsyncConnection, purchase_id: str, after: int) -> list[ProgressEvent]:
    """Return all progress events after this number, in order."""
    return rows_as(ProgressEvent, await conn.execute(_AFTER, {"purchase_id": purchase_id, "after": after}))
