"""Notice when a process that serves for ever is asked to stop, and rest until then."""

from __future__ import annotations

import asyncio
import signal


def asked_to_stop() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; call it within the running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def rest(stop: asyncio.Event, seconds: float) -> None:
    """Return after `seconds`, or as soon as the process is asked to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
