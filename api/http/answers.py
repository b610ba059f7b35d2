"""Set the headers of every answer, and answer HEAD wherever there is GET."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PERSONAL = "/api/"


class _AllSaid(Exception):
    """HEAD has its answer: whatever makes the rest may stop."""


class Answers:
    """ASGI middleware: no guessing of content types, no storing of personal answers, HEAD as GET without a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        head = scope["method"] == "HEAD"

        async def says(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if scope["path"].startswith(_PERSONAL):
                    headers.setdefault("Cache-Control", "no-store")
                await send(message)
            elif head and message["type"] == "http.response.body":
                await send({"type": "http.response.body", "body": b""})
                raise _AllSaid
            else:
                await send(message)

        try:
            await self._app({**scope, "method": "GET"} if head else scope, receive, says)
        except* _AllSaid:
            pass
