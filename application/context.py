"""The pools, clients and settings that everything in application/ works with, made once for a process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio.client import Client

from application.progress_feed import Watchers
from application.rate_limit import Pace
from application.request_turns import Seats, waiting
from db.engine import connected
from db.sealing import Seal
from gateways.payments import PaymentProvider
from workflows.policies import Rules

T = TypeVar("T")


@dataclass
class Scraped:
    """The metrics as they were last read, shared by everybody who scrapes them."""

    text: bytes = b""
    at: float = -math.inf  # by the monotonic clock
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class Services:
    """The database pools of one process, its Temporal client, and the settings of its doors as plain values."""

    engine: AsyncEngine
    readers: AsyncEngine  # whose connections can only read
    temporal: Client
    task_queue: str
    rules: Rules  # copied into every start input
    provider: PaymentProvider | None = None  # None: this process was not told of one, so there is no checkout
    asking: ThreadPoolExecutor | None = None  # None: the event loop's own
    temporal_ui_url: str | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    slot_hold: timedelta = timedelta(minutes=10)  # how long times are held before they are paid for
    private_webhooks: bool = False  # webhook targets may be inside
    seal: Seal = field(default_factory=lambda: Seal(()))  # of what is stored secret
    pace: Pace = field(default_factory=Pace)  # of all bulk requests together
    watchers: Watchers = field(default_factory=Watchers)
    scraped: Scraped = field(default_factory=Scraped)
    seats: Seats = field(default_factory=lambda: Seats(each=20, most=500))  # of streams
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])  # healing sweeps under way

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background: the caller does not wait for it and does not fail with it."""
        task = asyncio.create_task(work)
        self.tasks.add(task)  # the loop holds tasks weakly
        task.add_done_callback(self.tasks.discard)

    async def ask(self, question: Callable[..., T], *about: Any) -> T:
        """Call the payment provider in a thread of `asking`: a slow one takes no thread and no turn from other work."""
        async with waiting():
            return await asyncio.get_running_loop().run_in_executor(self.asking, question, *about)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Yield a connection that can only read. Leave the block before you ask Temporal anything."""
        conn = await connected(self.readers)
        try:
            yield conn
        finally:
            await asyncio.shield(asyncio.ensure_future(conn.close()))  # also for somebody who is gone
