"""Limit how much one process takes on: requests of a caller in a minute, and work at a time.

More is refused at once, with when to come again, so that accepted requests stay fast. `/healthz`, `/readyz` pass first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import RETRY_AFTER, problem_response
from application.caller import Caller
from application.request_turns import BUSY, NoTurn
from domain.roles import Role

FIRST = frozenset({"/healthz", "/readyz"})
_OFTEN = "You ask more often than you may: at most {limit}. Send the same request again later."


class Admission:
    """ASGI middleware, after authentication: 429 for a caller who asks too often, 503 for more work than allowed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in FIRST:
            return await self._app(scope, receive, send)
        state = scope["app"].state
        caller: Caller | None = scope.get("state", {}).get("caller")
        if caller and caller.role and (wait := state.rates.too_often(caller.role, caller.subject)):
            detail = _OFTEN.format(limit=state.rates.limit(caller.role))
            problem = problem_response(scope, 429, "TOO_MANY_REQUESTS", detail, {"Retry-After": str(wait)})
            return await problem(scope, receive, send)
        try:
            async with state.turns.work():
                return await self._app(scope, receive, send)
        except NoTurn:
            problem = problem_response(scope, 503, "OVERLOADED", BUSY, {"Retry-After": str(RETRY_AFTER)})
            return await problem(scope, receive, send)


class Rates:
    """Limits how often each caller may ask, by role; counts in this process, over a moving window."""

    def __init__(self, limits: Mapping[Role, RateLimitItem]) -> None:
        self._limits = dict(limits)
        self._seen = MovingWindowRateLimiter(MemoryStorage())

    def limit(self, role: Role) -> RateLimitItem:
        return self._limits[role]

    def too_often(self, role: Role, subject: str) -> int:
        """Return 0 and count the request if it may be served now, else the seconds to wait."""
        limit = self._limits[role]
        if self._seen.hit(limit, role, subject):
            return 0
        return max(1, math.ceil(self._seen.get_window_stats(limit, role, subject).reset_time - time.time()))
