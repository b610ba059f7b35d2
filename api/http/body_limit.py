"""Read a request's whole body in time, before anything is done for it; refuse a large or slow one."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import problem_response

_TOO_LARGE = "The body is larger than {limit} bytes."
_TOO_SLOW = "The body did not come within {seconds:g} seconds."
# What is read and thrown away before the refusal, so that a client still writing hears it instead of a reset.
_DRAIN = 4 * 1024 * 1024


class BodyLimit:
    """ASGI middleware: 413 for a body over `limit` bytes, declared or streamed, 408 for one that takes over `seconds`.

    A slow sender keeps nothing busy but a connection.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(scope, receive)
                if body is None:
                    await _drain(receive)
        except TimeoutError:
            detail = _TOO_SLOW.format(seconds=self._seconds)
            return await problem_response(scope, 408, "REQUEST_TIMEOUT", detail)(scope, receive, send)
        if body is None:
            detail = _TOO_LARGE.format(limit=self._limit)
            return await problem_response(scope, 413, "BODY_TOO_LARGE", detail)(scope, receive, send)
        said: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return said.pop() if said else await receive()

        return await self._app(scope, again, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; None: too large. Of a client that is gone, return what came: nobody reads the answer."""
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > self._limit:
            return None
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._limit:
                return None
            if message["type"] != "http.request" or not message.get("more_body"):
                return body


async def _drain(receive: Receive) -> None:
    seen = 0
    while seen < _DRAIN:
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return
