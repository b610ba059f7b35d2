"""Measure turns: a side buys, the database tells when each purchase ended, and the kernel what it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.bench.endings import Endings
from cli.bench.meter import Timed, cpu_ms_each, cpu_seconds
from cli.bench.sides import Side
from domain.purchase import PurchaseOrder
from runtime.state import Running

_SERVERS = ("temporal", "worker", "postgres", "provider")


def server_pids(running: Running) -> dict[str, int]:
    """Return the processes of the stack that a purchase without the API needs; one that is not ours is left out."""
    return {name: running.pids[name] for name in _SERVERS if name in running.pids}


def share(orders: Sequence[PurchaseOrder], number: int, of: int) -> Sequence[PurchaseOrder]:
    """Return the orders of turn `number` of so many; each has one at least when there are as many orders as turns."""
    return orders[len(orders) * number // of : len(orders) * (number + 1) // of]


@dataclass(frozen=True)
class Meter:
    """Measures turns: by the endings that the database tells of, and by the CPU of these processes."""

    seen: Endings
    pids: Mapping[str, int]

    async def turn(self, side: Side, orders: Sequence[PurchaseOrder], at_once: int) -> tuple[Timed, dict[str, float]]:
        """Let the side buy these; return their times, and CPU milliseconds each by process."""
        before, mine = cpu_seconds(self.pids), time.process_time()
        began = await side.buy(orders, at_once)
        await self.seen.all_of(began)
        spent = cpu_ms_each(before, cpu_seconds(self.pids), len(orders))
        spent |= cpu_ms_each({"starter": mine}, {"starter": time.process_time()}, len(orders))
        cpu = {name: ms for name, ms in spent.items() if name in side.works}
        cpu["idle"] = round(sum(ms for name, ms in spent.items() if name not in side.works), 1)
        ended = [self.seen.at[purchase_id] for purchase_id in began]
        each = [end - began[purchase_id] for purchase_id, end in zip(began, ended, strict=True)]
        return Timed(each, max(ended) - min(began.values())), cpu
