"""The bench's first side: purchases through the API, carried by workflows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from cli.api_client import Api
from cli.bench.endings import Endings
from cli.bench.failed import BenchFailed
from cli.bench.meter import Timed
from db.reads.starts import starts_of
from domain.purchase import PurchaseOrder
from runtime.local_activities import local_activity_of


@dataclass
class Shop:
    """Buys through the API; the database tells when a purchase ended, so nobody is asked meanwhile."""

    api: Api
    engine: AsyncEngine
    seen: Endings

    async def buy(self, orders: Sequence[PurchaseOrder], at_once: int) -> Timed:
        """Buy all, at most `at_once` of them in flight, and return their times.

        Raises BenchFailed unless each completes.
        """
        left = iter(orders)
        await asyncio.gather(*(self._buyer(left) for _ in range(at_once)))
        return await completed(self.engine, orders)

    async def _buyer(self, left: Iterator[PurchaseOrder]) -> None:
        for order in left:
            await self.api.post("/api/v1/purchases", {"paymentId": order.payment_id})
            await self.seen.of(order.purchase_id)


async def completed(engine: AsyncEngine, orders: Sequence[PurchaseOrder]) -> Timed:
    """Return how long the purchases took from the POST to their ending, by their rows.

    Raises BenchFailed if one did not complete.
    """
    async with engine.connect() as connection:
        rows = (await starts_of(connection, [order.purchase_id for order in orders])).values()
    endings = Counter(row.code or row.ending or "none" for row in rows)
    if endings != {"completed": len(orders)}:
        raise BenchFailed(f"of {len(orders)} purchases not all completed; they ended so: {dict(endings)}")
    times = [(row.started_at, row.ended_at) for row in rows if row.ended_at]
    whole = max(ended for _, ended in times) - min(started for started, _ in times)
    return Timed([(ended - started).total_seconds() for started, ended in times], whole.total_seconds())


async def wait_until_closed(client: Client, orders: Sequence[PurchaseOrder]) -> None:
    """Wait until the workflows have done the little that comes after the ending is written."""
    await asyncio.gather(*(client.get_workflow_handle(order.workflow_id).result() for order in orders))


async def histories(client: Client, orders: Sequence[PurchaseOrder]) -> list[tuple[int, int]]:
    """Return the events and bytes of each workflow's history, as Temporal counts them."""
    described = [await client.get_workflow_handle(order.workflow_id).describe() for order in orders]
    return [(run.history_length, run.raw_info.history_size_bytes) for run in described]


async def activities_of(client: Client, order: PurchaseOrder) -> list[str]:
    """Return the names of the activities that this workflow ran, in order. Raises BenchFailed if there are none."""
    events = client.get_workflow_handle(order.workflow_id).fetch_history_events()
    named = [name async for event in events if (name := _activity_of(event))]
    if not named:
        raise BenchFailed("the history names no activity")
    return named


def _activity_of(event: HistoryEvent) -> str:
    """Return the activity that this event tells of; empty if none, or one that is told again as it failed locally."""
    if local := local_activity_of(event):
        return local.name if local.result is not None else ""
    return event.activity_task_scheduled_event_attributes.activity_type.name
