"""The three that take turns: ours by a client of Temporal, DBOS and plain calls in a process of their own each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from application.context import Services
from application.start_purchases import start_row
from cli.bench.endings import Endings
from cli.bench.failed import BenchFailed
from cli.bench.with_workflow import activities_of, wait_until_closed
from db.reads.payments import PaidLine, payment_to_start
from db.reads.starts import StartRow, starts_of
from db.starts import record_starts
from domain.purchase import PurchaseOrder
from runtime.settings import Settings

_ANSWER = 2**20  # bytes of a line that a peer answers


class Side(Protocol):
    """One of the three. `works`: the processes that work for it, by the names their CPU is told under."""

    works: frozenset[str]

    async def buy(self, orders: Sequence[PurchaseOrder], at_once: int) -> dict[str, float]:
        """Buy all, at most `at_once` in flight; return when each began, in seconds since the epoch."""
        ...

    async def steps_of(self, order: PurchaseOrder) -> list[str]:
        """Return the names of the steps that a purchase of the last turn had, in order."""
        ...


@dataclass
class Ours:
    """Starts workflows as a door does once its row is written, and is told by the database when each has ended.

    No API: the peers have none either.
    """

    services: Services
    seen: Endings
    works: frozenset[str] = frozenset({"starter", "temporal", "worker", "postgres", "provider"})
    _known: dict[str, tuple[PaidLine, StartRow]] = field(default_factory=dict[str, tuple[PaidLine, StartRow]])

    async def know(self, orders: Sequence[PurchaseOrder]) -> None:
        """Read what a door has read of these purchases before it starts them; not measured."""
        async with self.services.reading() as connection:
            rows = await starts_of(connection, [order.purchase_id for order in orders])
            for order in orders:
                payment = await payment_to_start(connection, order.payment_id)
                assert payment is not None
                self._known[order.purchase_id] = (payment.lines[0], rows[order.purchase_id])

    async def start(self, orders: Sequence[PurchaseOrder], at_once: int) -> None:
        """Start all, at most `at_once` at a time, and wait for none."""
        left = iter(orders)

        async def starter() -> None:
            for order in left:
                await start_row(self.services, *self._known[order.purchase_id])

        await asyncio.gather(*(starter() for _ in range(at_once)))

    async def buy(self, orders: Sequence[PurchaseOrder], at_once: int) -> dict[str, float]:
        """See Side.buy."""
        left, began = iter(orders), dict[str, float]()

        async def buyer() -> None:
            for order in left:
                began[order.purchase_id] = time.time()
                await start_row(self.services, *self._known[order.purchase_id])
                await self.seen.of(order.purchase_id)

        await asyncio.gather(*(buyer() for _ in range(at_once)))
        await wait_until_closed(self.services.temporal, orders[-at_once:])
        return began

    async def steps_of(self, order: PurchaseOrder) -> list[str]:
        """See Side.steps_of: what the workflow's history says."""
        return await activities_of(self.services.temporal, order)


@dataclass
class Apart:
    """A peer in its own process."""

    name: str
    process: asyncio.subprocess.Process
    works: frozenset[str]
    log: Path
    _steps: list[str] = field(default_factory=list[str])

    async def buy(self, orders: Sequence[PurchaseOrder], at_once: int) -> dict[str, float]:
        """See Side.buy. Raises BenchFailed when a purchase raised."""
        asked = {"orders": [asdict(order) for order in orders], "atOnce": at_once}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self.process.stdin.drain()
        said = await self.heard()
        self._steps = said["steps"]
        return said["began"]

    async def steps_of(self, order: PurchaseOrder) -> list[str]:
        """See Side.steps_of."""
        return self._steps

    async def heard(self) -> dict[str, Any]:
        """Return its next answer. Raises BenchFailed when it failed, or ended."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        said = json.loads(line) if line else {"failed": "it ended; its log ends so:\n" + _end_of(self.log)}
        if "failed" in said:
            raise BenchFailed(f"the peer {self.name}: {said['failed']}")
        return said


@asynccontextmanager
async def apart(name: str, settings: Settings) -> AsyncGenerator[Apart]:
    """Start a peer's process on the stack of these settings, and end it afterwards. Raises BenchFailed."""
    log = settings.coursaga_home / "logs" / f"{name}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.bench.runner", name, env={**os.environ, **settings.environment()},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, limit=_ANSWER,
        )  # fmt: skip
    try:
        peer = Apart(name, process, frozenset({name, "postgres", "provider"}), log)
        await peer.heard()
        yield peer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def open_rows(engine: AsyncEngine, orders: Sequence[PurchaseOrder]) -> None:
    """Write the rows that a door writes before a purchase starts; no side is measured by them."""
    for first in range(0, len(orders), 500):
        await record_starts(engine, orders[first : first + 500], datetime.now(UTC))


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
