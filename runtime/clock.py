"""Tell the time: now, or noon of a fixed day for demos and tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time

from runtime.settings import Settings


def clock(settings: Settings) -> Callable[[], datetime]:
    """Return a function that returns the time in aware UTC.

    COURSAGA_TODAY fixes it at 12:00 UTC that day (spec section 10).
    """
    if settings.coursaga_today is None:
        return lambda: datetime.now(UTC)
    fixed = datetime.combine(settings.coursaga_today, time(12), UTC)
    return lambda: fixed
