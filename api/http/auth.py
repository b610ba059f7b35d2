"""Authenticate the caller before anything else is read of a request; check the policy before its route.

Routes take `CallerDep`: `subject` is the `actor` of what they do, and `own` goes into the WHERE clause of what they
read or write, so that what is another's looks as if it were not there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import WHO_ARE_YOU, problem_response
from api.http.tokens import TokenRefused, Tokens
from api.http.who_may_call import PUBLIC, row_of
from application.caller import NONE, Caller
from application.errors import Forbidden

BEARER = HTTPBearer(
    auto_error=False, bearerFormat="at+jwt", description="A JWT of RS256; in development from `coursaga token`."
)
_DETAIL = "A valid token is needed, as `Authorization: Bearer ...`."


NOBODY = Caller("", None)


class Authenticate:
    """ASGI middleware: on every path but `public` a request without an accepted token gets the same 401."""

    def __init__(self, app: ASGIApp, public: frozenset[str]) -> None:
        self._app = app
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._public:
            try:
                caller = _caller(scope["app"].state.tokens, Headers(scope=scope))
            except TokenRefused:
                refusal = problem_response(scope, 401, "UNAUTHENTICATED", _DETAIL, WHO_ARE_YOU)
                return await refusal(scope, receive, send)
            scope.setdefault("state", {})["caller"] = caller
        return await self._app(scope, receive, send)


async def permitted(request: Request) -> Caller:
    """Return the caller with their reach in this operation. Raises Forbidden, and NoPolicy without a row."""
    row = row_of(request.scope["route"].name)
    if row == PUBLIC:
        return NOBODY
    caller: Caller = request.state.caller
    reach = row.get(caller.role, NONE) if caller.role else NONE
    if reach == NONE:
        raise Forbidden(detail=f"The role {caller.role} may not do this.")
    return replace(caller, reach=reach)


CallerDep = Annotated[Caller, Depends(permitted)]


def _caller(tokens: Tokens, headers: Headers) -> Caller:
    said = headers.getlist("authorization")
    if len(said) != 1:
        raise TokenRefused
    scheme, _, token = said[0].partition(" ")
    if scheme.lower() != "bearer":
        raise TokenRefused
    return Caller(*tokens.named(token.strip()))
