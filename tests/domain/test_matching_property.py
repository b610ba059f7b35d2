"""Matching against a slow and independent way of doing it: quarter by quarter of each hour, trainer by trainer (row 73).

50,000 examples under soak, a slice of them otherwise.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import acos, cos, radians, sin
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.matching import Place, TrainerFacts, Window
from domain.matching_explanation import Choice, NobodyFits, choose
from domain.schedule import Lesson
from domain.wanted_lessons import WantedLessons

HOME = Place(51.5, -0.12)
ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati")
DAY = 24 * 60
STEP = 15  # minutes; every time, length and offset here is a multiple of it
# Far from the edge of any radius, so that no way of measuring a distance matters.
PLACES = {"here": Place(51.5, -0.11), "near": Place(51.6, -0.12), "far": Place(52.4, -0.12), "nowhere": None}

minutes_of_day = st.integers(0, DAY // 15 - 1).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))
windows = st.builds(Window, st.integers(1, 7), minutes_of_day, minutes_of_day | st.just(time(23, 59)))
all_week = st.just(tuple(Window(day, time(0), time(0)) for day in range(1, 8)))
facts = st.fixed_dictionaries(
    {
        "zone": st.sampled_from(ZONES),
        "place": st.sampled_from(list(PLACES)).map(PLACES.__getitem__),
        "radius_km": st.sampled_from([5.0, 40.0, 500.0]),
        "windows": all_week | st.lists(windows, max_size=10).map(tuple),
        "blocked_days": st.frozensets(st.dates(date(2027, 3, 1), date(2027, 3, 20)), max_size=2),
        "max_group_size": st.sampled_from([None, 1, 3]),
        "busy": st.booleans().filter(bool) | st.just(False) | st.just(False),
        "load": st.integers(0, 2),
        "last_assigned_at": st.none() | st.sampled_from([datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2)]),
    }
)
crowds = st.lists(facts, max_size=5).map(
    lambda each: [TrainerFacts(id=f"t-{number}", **known) for number, known in enumerate(each)]
)
names = st.none() | st.sampled_from([f"t-{number}" for number in range(6)])


@st.composite
def plans(draw: st.DrawFn) -> list[Lesson]:
    """Up to five lessons at some time of day, one to three days apart, in a zone of the student's own."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    opens = datetime.combine(draw(st.dates(date(2027, 3, 1), date(2027, 3, 10))), draw(minutes_of_day), zone)
    length, apart = draw(st.sampled_from([15, 60, 90, 720])), draw(st.integers(1, 3))
    lessons: list[Lesson] = []
    for number in range(draw(st.integers(1, 5))):
        start = (opens + timedelta(days=number * apart)).astimezone(UTC)
        local = start.astimezone(zone).replace(tzinfo=None)
        lessons.append(Lesson(number + 1, local, start, start + timedelta(minutes=length)))
    return lessons


@lru_cache
def open_quarters(windows: tuple[Window, ...]) -> set[tuple[int, int]]:
    """Every quarter of the week the trainer works, as (ISO weekday, minute of the day)."""
    found: set[tuple[int, int]] = set()
    for window in windows:
        begins = window.start.hour * 60 + window.start.minute
        ends = window.end.hour * 60 + window.end.minute
        if window.end in (time(0), time(23, 59)):
            ends = DAY
        length = (ends - begins) if ends >= begins else ends - begins + DAY
        for minute in range(begins, begins + length, STEP):
            found.add((((window.weekday - 1) + minute // DAY) % 7 + 1, minute % DAY))
    return found


def walls(lesson: Lesson, zone: str) -> list[datetime]:
    """Each quarter of the lesson on the trainer's wall. A change of the clocks inside it counts it at its widest."""
    where, length = ZoneInfo(zone), int((lesson.ends_at - lesson.starts_at).total_seconds()) // 60
    first = lesson.starts_at.astimezone(where).replace(tzinfo=None)
    after = lesson.ends_at.astimezone(where).replace(tzinfo=None)
    widest = {first + timedelta(minutes=n) for n in range(0, length, STEP)} | {
        after - timedelta(minutes=n + STEP) for n in range(0, length, STEP)
    }
    return sorted(widest)


def can(trainer: TrainerFacts, lessons: list[Lesson], mode: str, group: int) -> bool:
    """Whether the trainer can give all of them, as one would check by hand."""
    if mode == "home":
        if trainer.place is None:
            return False
        here, there = radians(trainer.place.latitude), radians(HOME.latitude)
        between = radians(trainer.place.longitude - HOME.longitude)
        if 6371 * acos(min(1, sin(here) * sin(there) + cos(here) * cos(there) * cos(between))) > trainer.radius_km:
            return False
    if trainer.busy or (trainer.max_group_size is not None and group > trainer.max_group_size):
        return False
    works = open_quarters(trainer.windows)
    for lesson in lessons:
        for minute in walls(lesson, trainer.zone):
            if (
                minute.date() in trainer.blocked_days
                or (minute.isoweekday(), minute.hour * 60 + minute.minute) not in works
            ):
                return False
    return True


def better(one: TrainerFacts, other: TrainerFacts, first: list[str]) -> bool:
    """Whether one goes before the other, criterion by criterion."""
    for name in first:
        if name in (one.id, other.id):
            return name == one.id
    if one.load != other.load:
        return one.load < other.load
    if one.last_assigned_at != other.last_assigned_at:
        if one.last_assigned_at is None or other.last_assigned_at is None:
            return one.last_assigned_at is None
        return one.last_assigned_at < other.last_assigned_at
    return one.id < other.id


def chosen(*given_: Any, **named: Any) -> Choice | NobodyFits:
    try:
        return choose("course-piano", *given_, **named)
    except NobodyFits as nobody:
        return nobody


def holds(
    crowd: list[TrainerFacts], lessons: list[Lesson], mode: str, group: int, asked_for: str | None, held: str | None
) -> None:
    wanted = WantedLessons(date(2027, 3, 1), time(0), 60, "daily", False, mode, group, asked_for)
    told = chosen(crowd, lessons, home=HOME, wanted=wanted, held=held)
    fit = [trainer for trainer in crowd if can(trainer, lessons, mode, group)]
    if not fit:
        assert isinstance(told, NobodyFits)
        assert told.lost.keys() == {trainer.id for trainer in crowd}
        return
    assert isinstance(told, Choice)
    first = [name for name in (held, asked_for) if name is not None]
    assert all(told.trainer.id == other.id or better(told.trainer, other, first) for other in fit)
    assert told.trainer.id in {trainer.id for trainer in fit}
    assert told.lost.keys() == {trainer.id for trainer in crowd} - {told.trainer.id}, "each other one has a reason"
    assert all(told.lost.values())
    assert told.won["fitting"] == len(fit)


@pytest.mark.parametrize("examples", [1_000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_matching_is_what_checking_by_hand_says(examples: int) -> None:
    modes, groups = st.sampled_from(["online", "home"]), st.sampled_from([1, 2, 4])
    check = given(crowds, plans(), modes, groups, names, names)(holds)
    settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)(check)()
