"""Plan the lessons: wall time is kept in the student's zone, across daylight-saving changes (spec section 5)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import count as count_from
from itertools import islice
from zoneinfo import ZoneInfo

import tzdata
from dateutil.tz import resolve_imaginary

from domain.days import LAST_YEAR
from domain.refusals import Refused
from domain.wanted_lessons import WantedLessons

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Lesson:
    """One lesson. `local` is naive wall time in the student's zone; where the clocks skip that time, the shifted one.

    `clock` says what was decided about the start. `gap`: the clocks skip the time asked for, which is `asked_local`;
    `fold`: they show `local` twice, and the first of the two is meant; None: that time exists once.
    """

    number: int
    local: datetime
    starts_at: datetime
    ends_at: datetime
    clock: str | None = None
    asked_local: datetime | None = None


def zone_named(name: str) -> ZoneInfo:
    """Return the IANA zone from our pinned tzdata, so that no plan depends on the host it was made on.

    Raises STUDENT_PROFILE_MISSING for a name it does not know: a profile without a real zone is not complete.
    """
    if name not in _zone_names():
        raise Refused("STUDENT_PROFILE_MISSING", "the time zone (timezone) is unknown")
    return _zone(name)


def first_day(wanted: WantedLessons, zone: str, now: datetime, holidays: Collection[date] = ()) -> tuple[date, bool]:
    """Return the day of lesson 1, and whether it had to move because lesson 1 was not in the future (spec section 10).

    If lesson 1 is past or now, the series starts at its first own day from tomorrow in `zone`, weekday and rhythm
    kept; Sunday-only at the first Sunday on or after the start (mission rows 64, C11). `now` is aware.
    """
    where = zone_named(zone)
    asked, starts = next(_series(wanted, where, wanted.start_date, holidays))
    if starts > now:
        return asked, False
    tomorrow = now.astimezone(where).date() + _DAY
    return next(day for day, starts in _series(wanted, where, tomorrow, holidays) if starts > now), True


def plan_lessons(
    wanted: WantedLessons, count: int, zone: str, first: date, holidays: Collection[date] = ()
) -> list[Lesson]:
    """Return exactly `count` lessons, numbered from 1, on the series' own days from `first` on (mission rows 64, 65).

    The rhythm counts from the start date asked for; a lesson on a holiday moves to the next own day. A lesson whose
    time the clocks skip is held at the shifted time; one whose time they repeat, at the first of the two.
    """
    where = zone_named(zone)
    days = (day for day, _ in _series(wanted, where, first, holidays))
    return [
        lesson_at(number, datetime.combine(day, wanted.start_time), wanted.minutes, where)
        for number, day in enumerate(islice(days, count), start=1)
    ]


def lesson_at(number: int, asked: datetime, minutes: int, where: ZoneInfo) -> Lesson:
    """Return the lesson at this wall time; its `clock` says whether the clocks of `where` skip or repeat it."""
    aware = resolve_imaginary(asked.replace(tzinfo=where))
    local, starts_at = aware.replace(tzinfo=None), aware.astimezone(UTC)
    skipped = local != asked
    twice = not skipped and aware.utcoffset() != aware.replace(fold=1).utcoffset()
    return Lesson(
        number, local, starts_at, starts_at + timedelta(minutes=minutes),
        clock="gap" if skipped else "fold" if twice else None, asked_local=asked if skipped else None,
    )  # fmt: skip


def days_touched(starts_at: datetime, ends_at: datetime, zone: str) -> frozenset[date]:
    """Return the dates that a lesson lies on in `zone`; one that ends at midnight does not touch the next."""
    where = zone_named(zone)
    first = starts_at.astimezone(where).date()
    last = (ends_at - timedelta(microseconds=1)).astimezone(where).date()
    return frozenset(first + ahead * _DAY for ahead in range((last - first).days + 1))


def start_warning(wanted: WantedLessons, first: date, moved: bool) -> str | None:
    """Return why the series does not start on the day asked for; None if it does (mission row C11; spec section 5)."""
    if first == wanted.start_date:
        return None
    why = "has passed" if moved else "is no day of lessons"
    return f"startDate {wanted.start_date} {why}: lessons start on {first}"


def _series(
    wanted: WantedLessons, where: ZoneInfo, start: date, holidays: Collection[date]
) -> Iterator[tuple[date, datetime]]:
    """Yield the series' days from `start` on, without holidays, each with its lesson's aware start. Raises Refused."""
    closed = frozenset(holidays)
    for ahead in count_from():
        day = start + ahead * _DAY
        if day.year > LAST_YEAR:
            raise Refused("METADATA_INCOMPLETE", f"lessons would be after {LAST_YEAR}: too many days are closed")
        if not _is_own(wanted, day) or day in closed:
            continue
        wall = datetime.combine(day, wanted.start_time)
        aware = resolve_imaginary(wall.replace(tzinfo=where))
        # A zone that crosses the date line skips a whole day (Samoa in 2011): then that day is no day of the series,
        # or its lesson would fall on top of the next one.
        if aware.replace(tzinfo=None) - wall < _DAY:
            yield day, aware


def _is_own(wanted: WantedLessons, day: date) -> bool:
    if wanted.sunday_only:
        return day.isoweekday() == 7
    match wanted.schedule_type:
        case "daily":
            return True
        case "weekdays":
            return day.isoweekday() <= 5
        case "weekly":
            return day.weekday() == wanted.start_date.weekday()
        case _:  # alternate_days
            return (day - wanted.start_date).days % 2 == 0


@cache
def _zone(name: str) -> ZoneInfo:
    with files(tzdata).joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(files(tzdata).joinpath("zones").read_text().split())
