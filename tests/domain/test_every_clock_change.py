"""Every zone x every clock change from 2026 to 2029, against a reference that only ever asks what time it is now.

The plan goes from wall time to UTC. The reference never does: it looks at the clock of a zone hour by hour, minute by
minute where it jumps, and notes what it saw. Zones that crossed the date line are asked in the year they did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import tzdata

from domain.schedule import Lesson, plan_lessons, zone_named
from domain.wanted_lessons import WantedLessons

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ZONES = sorted(files(tzdata).joinpath("zones").read_text().split())
YEARS = datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
DATE_LINE = {
    "Pacific/Apia": date(2011, 12, 30),
    "Pacific/Fakaofo": date(2011, 12, 30),
    "Pacific/Kwajalein": date(1993, 8, 21),
    "Pacific/Kiritimati": date(1994, 12, 31),
    "Pacific/Enderbury": date(1994, 12, 31),
    "Pacific/Kanton": date(1994, 12, 31),
}


@dataclass(frozen=True)
class Change:
    """The clock showed `last` in the minute before `moment`, and `next` in the minute that begins with it."""

    moment: datetime
    last: datetime
    next: datetime

    @property
    def jump(self) -> timedelta:
        """How far it jumped: ahead (a gap) or, negative, back (a fold)."""
        return self.next - self.last - MINUTE


@dataclass(frozen=True)
class Expected:
    """When a lesson asked for at a wall time is held, how it is shown, and what was decided."""

    moment: datetime
    shown: datetime
    clock: str | None


@cache
def clock_of(name: str) -> ZoneInfo:
    return zone_named(name)


def shown(name: str, moment: datetime) -> datetime:
    """What a clock on a wall of the zone shows."""
    return moment.astimezone(clock_of(name)).replace(tzinfo=None, fold=0)


def seen(name: str, start: datetime, end: datetime, step: timedelta) -> Iterator[Change]:
    """The jumps a watcher sees who looks every `step`, and every minute where it jumped."""
    at = start
    while at < end:
        if shown(name, at + step) - shown(name, at) != step:
            minutes = [at + n * MINUTE for n in range(int(step / MINUTE) + 1)]
            for before, after in pairwise(minutes):
                last, then = shown(name, before), shown(name, after)
                if then - last != MINUTE:
                    yield Change(after, last, then)
        at += step


@cache
def changes(name: str) -> tuple[Change, ...]:
    return tuple(seen(name, *YEARS, 12 * HOUR))


def expected(name: str, asked: datetime) -> Expected | None:
    """By looking at the clock for a day and a half around; None when the zone skipped the day as a whole."""
    start = asked.replace(tzinfo=UTC) - 38 * HOUR
    looks = [start + n * HOUR for n in range(77)]
    offsets = {shown(name, moment) - moment.replace(tzinfo=None) for moment in looks}
    tries = sorted(asked.replace(tzinfo=UTC) - offset for offset in offsets)
    held = [moment for moment in tries if shown(name, moment) == asked]
    if held:
        return Expected(held[0], asked, "fold" if len(held) > 1 else None)
    [gap] = [c for c in seen(name, looks[0], looks[-1], HOUR) if c.last < asked < c.next]
    late = asked - gap.last - MINUTE
    return None if gap.jump >= DAY else Expected(gap.moment + late, gap.next + late, "gap")


def own_days(start: date, sunday_only: bool) -> Iterator[date]:
    first = start + (7 - start.isoweekday()) * DAY if sunday_only else start
    while True:
        yield first
        first += 7 * DAY


def cases(change: Change) -> Iterator[datetime]:
    """Wall times in the gap or the fold, its first and last minute and those beside it, and the day before and after."""
    edge = change.last + MINUTE if change.jump > timedelta() else change.next
    wide = abs(change.jump)
    for wall in (edge - MINUTE, edge, edge + wide / 2, edge + wide - MINUTE, edge + wide):
        yield from (wall - DAY, wall, wall + DAY)


def disagreements(name: str, wall: datetime, sunday_only: bool) -> Iterator[str]:
    """A series that has this wall time (or the Sunday after it) as its second lesson, beside the reference."""
    start = wall.date() - 7 * DAY
    asked = WantedLessons(start, wall.time(), 60, "weekly", sunday_only, learning_mode="online", group_size=1)
    told: list[Expected] = []
    wanted: list[datetime] = []
    for day in own_days(start, sunday_only):
        at = datetime.combine(day, wall.time())
        if (one := reference(name, at)) is not None:
            told.append(one)
            wanted.append(at)
        if len(told) == 3:
            break
    lessons = plan_lessons(asked, 3, name, start)
    for lesson, right, at in zip(lessons, told, wanted, strict=True):
        if not agrees(lesson, right, at):
            yield f"{name} {at}: {lesson}, not {right}"
    if len({lesson.starts_at for lesson in lessons}) != 3:
        yield f"{name} {wall}: doubled"


def agrees(lesson: Lesson, right: Expected, asked: datetime) -> bool:
    held = (lesson.starts_at, lesson.local, lesson.clock) == (right.moment, right.shown, right.clock)
    return held and lesson.asked_local == (asked if right.clock == "gap" else None)


@cache
def like(name: str) -> str:
    """The first zone asked for that changes its clocks at the same moments from and to the same times."""
    return _LIKE.setdefault(changes(name), name)


_LIKE: dict[tuple[Change, ...], str] = {}


@cache
def _reference(name: str, asked: datetime) -> Expected | None:
    return expected(name, asked)


def reference(name: str, asked: datetime) -> Expected | None:
    return _reference(like(name) if asked.year >= YEARS[0].year else name, asked)


def test_the_watcher_sees_gaps_and_folds() -> None:
    named = ("Europe/London", "Australia/Lord_Howe", "Antarctica/Troll", "Asia/Tokyo")
    jumps = {name: [change.jump for change in changes(name)] for name in named}
    assert len(ZONES) > 590
    assert jumps["Asia/Tokyo"] == []
    assert [jump > timedelta() for jump in jumps["Europe/London"]] == [True, False] * 4
    assert {abs(jump) for jump in jumps["Australia/Lord_Howe"]} == {HOUR / 2}
    assert {abs(jump) for jump in jumps["Antarctica/Troll"]} == {2 * HOUR}


@pytest.mark.parametrize("sunday_only", [False, True], ids=["weekly", "Sundays"])
@pytest.mark.parametrize(
    ("zones", "each"), [(ZONES[::19], 40), pytest.param(ZONES, 1_000, marks=pytest.mark.soak)], ids=["some", "all"]
)
def test_every_change_of_every_zone_is_planned_as_the_clock_on_the_wall_shows(
    zones: list[str], each: int, sunday_only: bool
) -> None:
    wrong: list[str] = []
    decided: dict[str | None, int] = {}
    for name in zones:
        for change in changes(name):
            for wall in cases(change):
                wrong += disagreements(name, wall, sunday_only)
                right = reference(name, wall)
                assert right is not None
                decided[right.clock] = decided.get(right.clock, 0) + 1
    assert wrong[:3] == []
    assert min(decided["gap"], decided["fold"]) >= each, decided


@pytest.mark.parametrize("name", DATE_LINE)
@pytest.mark.parametrize("sunday_only", [False, True], ids=["weekly", "Sundays"])
def test_a_day_that_a_zone_skipped_crossing_the_date_line_is_neither_lost_nor_doubled(
    name: str, sunday_only: bool
) -> None:
    skipped = datetime.combine(DATE_LINE[name], datetime.min.time())
    assert expected(name, skipped + 18 * HOUR) is None
    wrong: list[str] = []
    for hours in range(-24, 48, 3):
        wrong += disagreements(name, skipped + hours * HOUR, sunday_only)
    assert wrong == []
