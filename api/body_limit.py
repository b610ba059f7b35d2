"""Refuses large bodies with a problem; FastAPI's own limit answers in plain text."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem_response

_TOO_LARGE = "The body is larger than {limit} bytes."
# What is read and thrown away before the refusal, so that a client still writing hears it instead of a reset.
_DRAIN = 4 * 1024 * 1024


class BodyLimit:
    """ASGI middleware: a body over `limit` bytes gets a 413 problem, declared or streamed."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > self._limit:
            await _drain(receive)
            detail = _TOO_LARGE.format(limit=self._limit)
            await problem_response(scope["path"], 413, "BODY_TOO_LARGE", detail)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                await _drain(receive)
                raise HTTPException(413, _TOO_LARGE.format(limit=self._limit))
            return message

        await self._app(scope, counted, send)


async def _drain(receive: Receive) -> None:
    seen = 0
    while seen < _DRAIN:
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return
