"""One listener per process for all who watch a purchase; each is woken when a change of its purchase was committed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from db.notices import listen


class Watchers:
    """Keeps who watches which purchase. A watcher is only woken; it reads what is new by itself."""

    def __init__(self) -> None:
        self._bells: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._any = asyncio.Event()  # until somebody watches, nobody listens
        self.looks = asyncio.Semaphore(3)  # at a time: what is new for many is read without keeping others waiting

    @contextmanager
    def bell(self, *purchase_ids: str) -> Generator[asyncio.Event]:
        """Yield an event that is set whenever there may be something new of one. Clear it before you look."""
        mine = asyncio.Event()
        for purchase_id in purchase_ids:
            self._bells[purchase_id].add(mine)
        self._any.set()
        try:
            yield mine
        finally:
            for purchase_id in set(purchase_ids):
                self._bells[purchase_id].discard(mine)
                if not self._bells[purchase_id]:
                    del self._bells[purchase_id]

    async def listen(self, engine: AsyncEngine) -> None:
        """Run for ever: wake the watchers of what changed, and all watchers whenever the connection was made anew."""
        await self._any.wait()
        await listen(engine, ("purchase_progress",), self._ring_all, lambda notice: self._ring(notice.payload))

    def _ring_all(self) -> None:
        for purchase_id in list(self._bells):
            self._ring(purchase_id)

    def _ring(self, purchase_id: str) -> None:
        for bell in self._bells.get(purchase_id, ()):
            bell.set()
