"""Bound the days that callers may name and lessons may have, so that no calendar arithmetic overflows."""

from __future__ import annotations

import re
from datetime import date, datetime

YEARS = range(1970, 2201)  # outside of these a day that somebody names is a typing error
LAST_YEAR = 2299  # of a lesson: a series of 1000 weeks that begins in the last of YEARS, and then some closed days
DAY = f"a date YYYY-MM-DD from {YEARS.start} to {YEARS.stop - 1}"


def day_of(said: object) -> date | None:
    """Return the day that a caller gave as YYYY-MM-DD; None if it is no date, or its year is not in YEARS."""
    if not isinstance(said, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", said):
        return None
    try:
        day = date.fromisoformat(said)
    except ValueError:
        return None
    return day if day.year in YEARS else None


def is_day(said: object) -> bool:
    """Return whether the value is such a day, with or without an ISO time after it (older systems send one)."""
    if not isinstance(said, str) or not said.isprintable() or day_of(said[:10]) is None:
        return False
    try:
        datetime.fromisoformat(said)
    except ValueError:
        return False
    return True
