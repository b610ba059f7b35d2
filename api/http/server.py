"""The HTTP server's protocol: it closes a connection on which no whole request comes for some seconds."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0  # for a request's line and headers


class PunctualProtocol(H11Protocol):
    """uvicorn's own waits for ever for the rest of a request's head; this one does not. The app bounds bodies."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer: nothing has come yet."""
        super().connection_made(transport)
        self._late = self.loop.call_later(SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Stop the timer while a request is answered; start it at the first byte of the next."""
        super().data_received(data)
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._in_time()
        elif self._late is None:
            self._late = self.loop.call_later(SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
