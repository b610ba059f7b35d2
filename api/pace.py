"""A steady pace for work that must not crowd out the requests of others."""

from __future__ import annotations

import asyncio


class Pace:
    """So many turns a second, for all who ask together, one after the other."""

    def __init__(self, per_second: float = 20.0) -> None:
        self._gap = 1 / per_second
        self._line = asyncio.Lock()
        self._next = 0.0

    async def turn(self) -> None:
        """Returns when it is the caller's turn."""
        async with self._line:
            clock = asyncio.get_running_loop().time
            await asyncio.sleep(max(0.0, self._next - clock()))
            self._next = clock() + self._gap
