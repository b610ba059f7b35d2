"""A steady pace for work that must not crowd out the requests of others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """Gives `per_second` turns a second, one after the other, to all who ask together."""

    def __init__(
        self,
        per_second: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._gap = 1 / per_second
        self._line = asyncio.Lock()
        self._next = 0.0
        self._clock = clock
        self._sleep = sleep

    async def turn(self) -> None:
        """Wait until it is the caller's turn."""
        async with self._line:
            await self._sleep(max(0.0, self._next - self._clock()))
            self._next = self._clock() + self._gap
