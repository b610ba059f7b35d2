"""Waiting for what happens in another process: there is no event to wait for, only looking again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def happens(condition: Callable[[], bool]) -> None:
    """Waits until it is so; the story's own limit bounds it."""
    while not condition():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.05)
