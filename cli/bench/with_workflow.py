"""The bench's first side: purchases through the API, carried by workflows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from cli.api_client import Api
from cli.bench.meter import Timed
from db.reads.starts import outcomes_of, starts_of
from domain.purchase import PurchaseOrder
from runtime.errors import CannotRun
from runtime.local_activities import local_activity_of

_LOOK_AGAIN = 0.02
_STALLED_SECONDS = 120.0


class BenchFailed(CannotRun):
    """A purchase did not complete, so there is nothing to measure; the message says what it did instead."""


@dataclass
class Shop:
    """Buys through the API, and reads in the database when a purchase ended; Temporal is not asked meanwhile."""

    api: Api
    engine: AsyncEngine
    advance: Callable[[], object]
    _open: dict[str, asyncio.Future[None]] = field(default_factory=dict[str, asyncio.Future[None]])

    async def buy(self, orders: Sequence[PurchaseOrder], at_once: int) -> Timed:
        """Buy all, at most `at_once` of them in flight, and return their times.

        Raises BenchFailed unless each completes.
        """
        left = iter(orders)
        buyers = asyncio.gather(*(self._buyer(left) for _ in range(at_once)))
        try:
            await self._watch(buyers)
        finally:
            buyers.cancel()
            await asyncio.gather(buyers, return_exceptions=True)  # seen, so that nobody tells of it at exit
        return await completed(self.engine, orders)

    async def _buyer(self, left: Iterator[PurchaseOrder]) -> None:
        for order in left:
            ended = self._open[order.purchase_id] = asyncio.get_running_loop().create_future()
            await self.api.post("/api/v1/purchases", {"paymentId": order.payment_id})
            await ended
            self.advance()

    async def _watch(self, buyers: asyncio.Future[list[None]]) -> None:
        now = asyncio.get_running_loop().time
        moved = now()
        while not buyers.done():
            if self._open:
                async with self.engine.connect() as connection:
                    seen = await outcomes_of(connection, list(self._open))
                for purchase_id in [one for one, outcome in seen.items() if outcome.ending]:
                    self._open.pop(purchase_id).set_result(None)
                    moved = now()
            if now() - moved > _STALLED_SECONDS:
                raise BenchFailed(f"{len(self._open)} purchases are open and none ended for {_STALLED_SECONDS:.0f} s")
            await asyncio.sleep(_LOOK_AGAIN)
        buyers.result()


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
    ran = [local.name async for event in events if (local := local_activity_of(event)) and local.result is not None]
    if not ran:
        raise BenchFailed("the history names no activity to call plainly")
    return ran
