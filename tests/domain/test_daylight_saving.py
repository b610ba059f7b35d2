"""Every zone x every clock change: wall time kept, nothing lost, nothing doubled (spec section 10; craft, time)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import tzdata

from domain.schedule import Lesson, first_day, plan_lessons, zone_named
from domain.wanted_lessons import WantedLessons

HOUR = timedelta(hours=1)


def daily_from(start: date, at: time, kind: str = "daily", sunday_only: bool = False) -> WantedLessons:
    return WantedLessons(start, at, 60, kind, sunday_only, learning_mode="online", group_size=1)


def offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """The moments, to the minute, from which another offset holds."""
    step = timedelta(days=3)
    while start < end:
        low, high = start, start + step
        if offset(zone, low) != offset(zone, high):
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) // timedelta(minutes=2) * timedelta(minutes=1)
                low, high = (middle, high) if offset(zone, middle) == offset(zone, low) else (low, middle)
            yield high
        start += step


@cache
def transitions() -> list[tuple[str, datetime]]:
    """Every zone with its coming changes; zones with the same changes and offsets count once."""
    seen: dict[tuple[object, ...], list[tuple[str, datetime]]] = {}
    for name in files(tzdata).joinpath("zones").read_text().split():
        zone = zone_named(name)
        found = list(changes(zone, datetime(2027, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)))
        if found:
            seen.setdefault((*found, offset(zone, found[0])), [(name, moment) for moment in found])
    return [case for cases in seen.values() for case in cases]


def around(name: str, change: datetime, at: time) -> list[Lesson]:
    """Seven daily lessons at that wall time, three days before the change to three days after."""
    start = change.astimezone(zone_named(name)).date() - timedelta(days=3)
    return plan_lessons(daily_from(start, at), 7, name, start)


def test_the_zones_of_the_world_still_change_their_clocks() -> None:
    names = {name for name, _ in transitions()}
    assert len(names) >= 20
    assert len(transitions()) >= 80


def test_wall_time_is_kept_across_every_change_of_every_zone() -> None:
    for name, change in transitions():
        for at in (time(0, 0), time(9, 30), time(18, 0), time(23, 59)):
            lessons = around(name, change, at)
            start = change.astimezone(zone_named(name)).date() - timedelta(days=3)
            for lesson in lessons:
                asked = datetime.combine(start + timedelta(days=lesson.number - 1), at)
                assert lesson.starts_at.astimezone(zone_named(name)).replace(tzinfo=None) == lesson.local, name
                assert lesson.local == asked or in_gap(name, asked), (name, lesson)


def test_a_lesson_the_clocks_skip_is_held_and_shown_at_its_shifted_time() -> None:
    seen = 0
    for name, change in transitions():
        zone = zone_named(name)
        gap = offset(zone, change) - offset(zone, change - timedelta(minutes=1))
        if gap <= timedelta():
            continue
        seen += 1
        skipped = (change + offset(zone, change - timedelta(minutes=1))).replace(tzinfo=None) + gap / 2
        start = skipped.date() - timedelta(days=1)
        lessons = plan_lessons(daily_from(start, skipped.time()), 3, name, start)
        assert lessons[1].local == skipped + gap, name
        assert lessons[1].starts_at == change + gap / 2, name
        assert [lessons[0].local, lessons[2].local] == [skipped - 24 * HOUR, skipped + 24 * HOUR], name
    assert seen >= 30


def test_a_lesson_the_clocks_repeat_is_held_once_at_the_first_of_the_two() -> None:
    seen = 0
    for name, change in transitions():
        zone = zone_named(name)
        back = offset(zone, change - timedelta(minutes=1)) - offset(zone, change)
        if back <= timedelta():
            continue
        seen += 1
        repeated = (change + offset(zone, change)).replace(tzinfo=None) + back / 2
        lessons = around(name, change, repeated.time())
        assert [lesson.starts_at for lesson in lessons if lesson.local == repeated] == [change - back / 2], name
    assert seen >= 30


def test_no_lesson_is_lost_or_doubled_around_any_change() -> None:
    for name, change in transitions():
        zone = zone_named(name)
        wall = change.astimezone(zone).replace(tzinfo=None)
        for minutes in (-90, -60, -30, -15, 0, 15, 30, 60):
            lessons = around(name, change, (wall + timedelta(minutes=minutes)).time())
            assert len(lessons) == 7
            for lesson, following in pairwise(lessons):
                assert lesson.local < following.local, name
                assert 21 * HOUR <= following.starts_at - lesson.starts_at <= 27 * HOUR, name


@pytest.mark.parametrize(
    ("kind", "sunday_only"), [("weekly", False), ("alternate_days", False), ("weekdays", False), ("daily", True)]
)
def test_every_kind_of_series_keeps_its_wall_time_across_a_year_of_changes(kind: str, sunday_only: bool) -> None:
    for name in {name for name, _ in transitions()}:
        asked = daily_from(date(2027, 1, 4), time(18, 0), kind, sunday_only)
        lessons = plan_lessons(asked, 60, name, asked.start_date)
        assert {lesson.local.time() for lesson in lessons} == {time(18, 0)}, name
        assert len({lesson.starts_at for lesson in lessons}) == 60, name


def test_a_day_that_a_zone_skips_as_a_whole_is_no_day_of_the_series() -> None:
    asked = daily_from(date(2011, 12, 28), time(18, 0))
    lessons = plan_lessons(asked, 4, "Pacific/Apia", asked.start_date)
    assert [lesson.local.day for lesson in lessons] == [28, 29, 31, 1]
    assert len({lesson.starts_at for lesson in lessons}) == 4


def test_a_change_at_midnight_does_not_move_a_lesson_onto_another() -> None:
    asked = daily_from(date(2027, 3, 26), time(23, 30))
    lessons = plan_lessons(asked, 3, "America/Nuuk", asked.start_date)
    shown = [f"{lesson.local:%d %H:%M}" for lesson in lessons]
    assert shown == ["26 23:30", "28 00:30", "28 23:30"]


def in_gap(name: str, wall: datetime) -> bool:
    there = wall.replace(tzinfo=zone_named(name))
    return there.astimezone(UTC).astimezone(zone_named(name)).replace(tzinfo=None) != wall


def test_tomorrows_first_midnight_is_passed_over_when_the_clocks_went_back_across_it() -> None:
    """Newfoundland repeated 23:01 to 00:01 on 7 November 2010: during the second 23:30, the first 00:00 is over."""
    now = datetime(2010, 11, 7, 3, 0, tzinfo=UTC)
    assert f"{now.astimezone(zone_named('America/St_Johns')):%d %H:%M}" == "06 23:30"
    asked = daily_from(date(2010, 11, 1), time(0, 0))
    assert first_day(asked, "America/St_Johns", now) == (date(2010, 11, 8), True)
