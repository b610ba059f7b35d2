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


async def rest(stop: asyncio.Event, seconds: float, bell: asyncio.Event | None = None) -> None:
    """Return after `seconds`, or as soon as the process is asked to stop or the bell rings."""
    waits = [asyncio.ensure_future(each.wait()) for each in (stop, bell) if each is not None]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
