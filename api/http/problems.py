"""Answer every error as a problem (RFC 9457) with a stable `code` and whether trying again may help.

No exception text leaves the process: what is not authored here is answered as a bare 500.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import new_class
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from fastapi_rfc9457 import PROBLEM_MEDIA_TYPE, Problem
from fastapi_rfc9457.server import add_problem_handlers
from fastapi_rfc9457.server import problems as documented_problems
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import Scope

from api.http.problem_types import ALWAYS_RETRYABLE, title_of, type_uri
from application.errors import (
    AppError,
    BadRequest,
    Conflict,
    Forbidden,
    InFlight,
    NotFound,
    TooManyRequests,
    Unavailable,
    Unprocessable,
    database_unavailable,
)
from db.request_keys import KeyReused
from db.trouble import is_database_trouble
from domain.refusals import REFUSALS

RETRY_AFTER = 2  # seconds; a database or a Temporal server that restarts is back in a few
_LATER = {"Retry-After": str(RETRY_AFTER)}

_HTTP_CODES = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}

# Instead of a regular expression, which says nothing to people; the documentation has it.
_WORDS = {"string_pattern_mismatch": "does not have the form that is asked for"}
_UNREADABLE = {"type": "json_invalid", "loc": ("body",), "msg": "cannot be read as JSON"}

_log = structlog.get_logger()


WHO_ARE_YOU = {"WWW-Authenticate": "Bearer"}


class Unauthenticated(Problem):
    """No token, or one that is not accepted; which of the two, and why, is not told. Nothing was read or stored."""

    title = title_of(401)
    status = 401
    headers = {"WWW-Authenticate": "How to say who calls."}  # noqa: RUF012 -- the library declares it a ClassVar
    code: str = "UNAUTHENTICATED"
    retryable: bool = False

    @classmethod
    def header_examples(cls) -> dict[str, str]:
        return WHO_ARE_YOU


class _ToBeSentAgain(Problem, abstract=True):
    headers = {"Retry-After": "Seconds to wait before sending the same request again."}  # noqa: RUF012 -- the library declares it a ClassVar

    @classmethod
    def header_examples(cls) -> dict[str, str]:
        return _LATER


# What each error is over HTTP, and what it may tell beside the usual.
_STATUS: dict[type[AppError], int] = {
    BadRequest: 400, Forbidden: 403, NotFound: 404, Conflict: 409, InFlight: 409, Unprocessable: 422, TooManyRequests: 429,
    Unavailable: 503,
}  # fmt: skip
_MORE: dict[type[AppError], dict[str, Any]] = {
    Unprocessable: {"errors": list[dict[str, Any]] | None}, Unavailable: {"down": list[str] | None},
}  # fmt: skip


def _documented(error: type[AppError]) -> type[Problem]:
    """Return the error as the documentation shows it."""
    more = _MORE.get(error, {})
    content = {
        "__doc__": error.__doc__, "__module__": __name__, "title": title_of(_STATUS[error]), "status": _STATUS[error],
        "__annotations__": {"code": str, "retryable": bool, **more}, "retryable": error.retryable, **dict.fromkeys(more),
    }  # fmt: skip
    base = _ToBeSentAgain if error.retryable else Problem
    return new_class(error.__name__, (base,), exec_body=lambda namespace: namespace.update(content))


_DOCUMENTED: dict[type[AppError], type[Problem]] = {error: _documented(error) for error in _STATUS}


def problems(*errors: type[AppError] | type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of a route that raises these."""
    return documented_problems(*(error if issubclass(error, Problem) else _DOCUMENTED[error] for error in errors))


def add_problems(app: FastAPI, permitted: Callable[[Request], Awaitable[object]]) -> None:
    """Answer every error as a problem: authored ones, validation, the framework's own, database trouble, bugs.

    An unreadable body is found before the app's dependencies are asked. So `permitted` is asked here: a sender who may
    not call at all gets its Forbidden instead.
    """

    async def unreadable(request: Request, exc: Exception) -> Response:
        try:
            await permitted(request)
        except Forbidden as problem:
            return await _authored(request, problem)
        return await _invalid(request, exc)

    async def http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        if exc.status_code == 400:  # the framework says so of a body only: bytes that are no text, JSON too deep
            return await unreadable(request, RequestValidationError([_UNREADABLE]))
        return await _http(request, exc)

    add_problem_handlers(app, strip_debug=True)
    app.add_exception_handler(AppError, _authored)
    app.add_exception_handler(RequestValidationError, unreadable)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(KeyReused, _key_reused)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(Exception, _bug)


def problem_response(
    scope: Scope, status: int, code: str, detail: str | None = None, headers: Any = None, **more: Any
) -> Response:
    """Return the answer to a request that is refused, also by a middleware."""
    body = {
        "type": type_uri(scope["app"].state.settings.public_url, code),
        "title": title_of(status),
        "status": status,
        "detail": detail,
        "instance": _printable(scope["path"]),
        "code": code,
        "retryable": status in ALWAYS_RETRYABLE,
        **more,
    }
    return JSONResponse(
        {key: value for key, value in body.items() if value is not None},
        status_code=status,
        headers=headers,
        media_type=PROBLEM_MEDIA_TYPE,
    )


async def _authored(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, AppError)
    headers = _LATER if type(exc).retryable else None
    status, later = _STATUS[type(exc)], exc.may_succeed_later
    return problem_response(request.scope, status, exc.code, exc.detail, headers, retryable=later, **exc.more)


async def _invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    content_type = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if not (content_type == "application/json" or content_type.endswith("+json")):
        return problem_response(request.scope, 415, _HTTP_CODES[415], "Send the body as application/json.")
    errors = [
        {
            "loc": [_printable(part) if isinstance(part, str) else part for part in err["loc"]],
            "detail": _printable(_WORDS.get(err["type"], str(err["msg"]).removeprefix("Value error, ")), most=1000),
            "type": err["type"],
        }
        for err in exc.errors()[:20]
    ]
    detail = "; ".join(f"{'.'.join(str(part) for part in err['loc'])}: {err['detail']}" for err in errors[:3])
    return problem_response(request.scope, 422, "INVALID_REQUEST", detail[:1500], errors=errors)


async def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = _HTTP_CODES[exc.status_code]
    headers = {"Allow": ", ".join(_methods(request))} if exc.status_code == 405 else exc.headers
    return problem_response(request.scope, exc.status_code, code, exc.detail, headers)


def _methods(request: Request) -> list[str]:
    """Return all methods of this path; the framework tells those of one route only."""
    path, every = request.scope["path"], iter_route_contexts(request.app.routes)
    here = [route for route in every if compile_path(str(route.path))[0].match(path)]
    allowed = {method for route in here for method in route.methods or ()}
    return sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))


async def _key_reused(request: Request, _: Exception) -> Response:
    row = REFUSALS["KEY_REUSED"]
    return problem_response(request.scope, row.status, row.code, f"{row.student} {row.next_action}")


async def _database(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, SQLAlchemyError)
    if not is_database_trouble(exc):
        raise exc
    _log.warning("database_unavailable", path=request.url.path, error=type(exc).__name__)
    return await _authored(request, database_unavailable())


async def _bug(request: Request, exc: Exception) -> Response:
    _log.error("request_failed", path=request.url.path, error=type(exc).__name__)
    return problem_response(request.scope, 500, "INTERNAL_ERROR", "Something went wrong on our side; it is logged.")


def _printable(text: str, most: int = 200) -> str:
    """Return `text` in a form that can be encoded: a lone surrogate would turn a 422 into a 500."""
    return text[:most].encode("utf-8", "backslashreplace").decode()
