"""Translate Coursaga's errors into Temporal's, in this one place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from domain.refusals import Refused
from gateways.payments import ProviderTrouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_QUOTES_DATA = "22"  # the class of sqlstates whose messages quote a value: invalid input, out of range
LONGEST_WAIT = timedelta(seconds=10)  # quick tries stay quick, whatever a service asks for; then the step parks


class Boundary(Interceptor):
    """Worker interceptor: a Refused becomes a non-retryable application error of type `code`, in the benign category.

    The refusal's facts, if any, are the error's only detail: one dict.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the activity; the worker calls this once per activity task."""
        return _Activity(next)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except Refused as refused:
            raise ApplicationError(
                refused.message,
                *([refused.facts] if refused.facts else []),
                type=refused.code,
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            ) from refused
        except DBAPIError as trouble:
            # Its own text holds the statement and its values, which neither Temporal nor an operator should read.
            log.warning("database_trouble", exc_info=trouble)
            said = str(trouble.orig or trouble).strip().partition("\n")[0]
            if (getattr(trouble.orig, "sqlstate", None) or "").startswith(_QUOTES_DATA):
                said = "a value is not of the type it is stored as"
            raise ApplicationError(f"the database: {said}", type=type(trouble.orig or trouble).__name__) from None
        except (ValueError, LookupError, TypeError) as bug:
            # Python quotes the value it could not use, and a traceback the line that holds it.
            log.exception("activity_failed", error=type(bug).__name__)
            raise ApplicationError(
                f"{type(bug).__name__}: the worker's log says more", type=type(bug).__name__
            ) from None
        except ProviderTrouble as trouble:
            if trouble.retry_after is None:
                raise
            wait = timedelta(seconds=min(trouble.retry_after, LONGEST_WAIT.total_seconds()))
            raise ApplicationError(str(trouble), type="ProviderTrouble", next_retry_delay=wait) from trouble
