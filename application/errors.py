"""Errors that say why a request is not done; each door turns them into its own form (HTTP, a dead letter).

Each has a stable `code` (`api/http/problem_table.py`), a `detail` for people, and whether the same request may
succeed later.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AppError(Exception):
    """The base of these errors. `more` holds facts for programs, by name."""

    retryable: ClassVar[bool] = False

    def __init__(self, *, code: str, detail: str | None = None, retryable: bool | None = None, **more: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.may_succeed_later = type(self).retryable if retryable is None else retryable
        self.more = more


class BadRequest(AppError):
    """The request lacks something that says how it is meant; nothing was stored."""


class Forbidden(AppError):
    """The role of the token may not do this; nothing was stored."""

    def __init__(self, *, detail: str, code: str = "FORBIDDEN") -> None:
        super().__init__(code=code, detail=detail)


class NotFound(AppError):
    """What the request names does not exist here; nothing was stored."""


class Conflict(AppError):
    """The purchase is not at a point where this act makes sense; `detail` names what can be done instead."""


class InFlight(AppError):
    """The first request with this Idempotency-Key is still being answered: send it again after `Retry-After`."""

    retryable = True

    def __init__(self, *, detail: str) -> None:
        super().__init__(code="REQUEST_IN_FLIGHT", detail=detail)


class TooManyRequests(AppError):
    """The caller asks too often, or for too much at a time; nothing was stored. Send it again after `Retry-After`."""

    retryable = True


class Unprocessable(AppError):
    """The request is well formed but says something that cannot be."""


class Unavailable(AppError):
    """Something behind the API does not answer. Nothing is lost: send the same request again after `Retry-After`."""

    retryable = True


def database_unavailable() -> Unavailable:
    """Return the error for a PostgreSQL that is gone or too busy."""
    return Unavailable(code="DATABASE_UNAVAILABLE", detail="The database does not answer right now.")


def temporal_unavailable() -> Unavailable:
    """Return the error for a Temporal server that is gone or too busy."""
    return Unavailable(code="TEMPORAL_UNAVAILABLE", detail="Temporal does not answer right now.")
