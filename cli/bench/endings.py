"""See purchases end as it happens, without asking: the database tells of each ending, once, in its own transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import make_url

from cli.bench.failed import BenchFailed

STALLED_SECONDS = 120.0
_CHANNEL = "bench_ended"
# On the bench's own database, which goes with it. Whoever carries the purchase pays for it alike.
_TELL = """
CREATE OR REPLACE FUNCTION bench_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('bench_ended', NEW.purchase_id);
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER bench_ended AFTER UPDATE OF ending ON purchase_starts
  FOR EACH ROW WHEN (OLD.ending IS NULL AND NEW.ending IS NOT NULL) EXECUTE FUNCTION bench_ended();
"""


@dataclass
class Endings:
    """When each purchase ended, in seconds since the epoch; `advance` is called for each."""

    advance: Callable[[], object]
    at: dict[str, float] = field(default_factory=dict[str, float])
    _waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict[str, "asyncio.Future[None]"])
    _moved: float = 0.0

    def told(self, purchase_id: str) -> None:
        """Note that this purchase has just ended."""
        self.at[purchase_id] = self._moved = time.time()
        self.advance()
        if waiting := self._waiting.pop(purchase_id, None):
            waiting.set_result(None)

    async def of(self, purchase_id: str) -> None:
        """Wait for this purchase. Raises BenchFailed when for STALLED_SECONDS none at all has ended."""
        if purchase_id in self.at:
            return
        ended = self._waiting[purchase_id] = asyncio.get_running_loop().create_future()
        began = time.time()
        while not ended.done():
            if time.time() - max(began, self._moved) > STALLED_SECONDS:
                raise BenchFailed(f"{len(self._waiting)} purchases are open and none ended for {STALLED_SECONDS:.0f} s")
            await asyncio.wait([ended], timeout=STALLED_SECONDS / 4)

    async def all_of(self, purchase_ids: Iterable[str]) -> None:
        """Wait for all of these purchases. Raises BenchFailed as `of` does."""
        for purchase_id in purchase_ids:
            await self.of(purchase_id)


@asynccontextmanager
async def endings(database_url: str, advance: Callable[[], object]) -> AsyncGenerator[Endings]:
    """Yield the endings of purchases that end from now on. Holds one connection, which is silent meanwhile."""
    plain = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    seen = Endings(advance)
    async with await psycopg.AsyncConnection[Any].connect(plain, autocommit=True) as connection:
        await connection.execute(_TELL)
        await connection.execute(f"LISTEN {_CHANNEL}")
        listening = asyncio.create_task(_listen(connection, seen))
        try:
            yield seen
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening


async def _listen(connection: psycopg.AsyncConnection[Any], seen: Endings) -> None:
    async for told in connection.notifies():
        seen.told(told.payload)
