"""The days that callers may name and lessons may have: one bound, inside of which no calendar arithmetic overflows."""

from __future__ import annotations

import re
from datetime import date, datetime

YEARS = range(1970, 2201)  # outside of these a day that somebody names is a typing error
LAST_YEAR = 2299  # of a lesson: a series of 1000 weeks that begins in the last of YEARS, and then some closed days
DAY = f"a date YYYY-MM-DD from {YEARS.start} to {YEARS.stop - 1}"


def day_of(said: object) -> date | None:
    """The day that a caller names as YYYY-MM-DD; None for what is none, or is none of YEARS."""
    if not isinstance(said, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", said):
        return None
    try:
        day = date.fromisoformat(said)
    except ValueError:
        return None
    return day if day.year in YEARS else None


def is_day(said: object) -> bool:
    """Whether it names such a day; as older systems do, maybe with a time after it."""
    if not isinstance(said, str) or not said.isprintable() or day_of(said[:10]) is None:
        return False
    try:
        datetime.fromisoformat(said)
    except ValueError:
        return False
    return True
