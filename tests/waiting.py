"""Waiting for what happens in another process: there is no event to wait for, only asking again.

Asking has its pauses: a test that asks without end takes the machine from what it waits for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar, cast

T = TypeVar("T")
PAUSE = 0.05  # seconds


async def eventually(ask: Callable[[], Awaitable[T] | T], so: Callable[[T], object] = bool, pause: float = PAUSE) -> T:
    """The first answer that is so; the test's timeout bounds the wait."""
    while True:
        answer = ask()
        seen = cast("T", await answer if isawaitable(answer) else answer)
        if so(seen):
            return seen
        await asyncio.sleep(pause)


def in_time(ask: Callable[[], T], so: Callable[[T], object] = bool, *, seconds: float = 120, pause: float = 0.1) -> T:
    """The same without a loop; it fails with the last answer when the time is over."""
    end = time.monotonic() + seconds
    while not so(seen := ask()):
        assert time.monotonic() < end, seen
        time.sleep(pause)
    return seen
