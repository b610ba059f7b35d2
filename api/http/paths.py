"""Keep an id one segment of a path, whatever it holds, a `/` too, if it is percent-encoded there.

Servers decode a path before it is routed, so `%2F` would split an id in two. Here `%2F` and `%25` stay as they are
until the id itself is read.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_KEPT = re.compile(r"%(2F|25)", re.IGNORECASE)


class WholeSegments:
    """ASGI middleware: routes see a path in which an encoded `/` is still encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if scope["type"] == "http" and _KEPT.search(path := raw.decode("latin-1")):
            scope = {**scope, "path": unquote(_KEPT.sub(r"%25\1", path))}
        await self._app(scope, receive, send)


def decoded(segment: str) -> str:
    """Return the id that a segment of such a path stands for."""
    return _KEPT.sub(lambda found: unquote(found[0]), segment)
