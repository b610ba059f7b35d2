"""What holds for any plan of lessons, whatever is asked, wherever and whenever (mission rows 64, 65)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from itertools import pairwise

import pytest
import tzdata
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.schedule import first_day, plan_lessons, zone_named
from domain.wanted_lessons import WantedLessons

ZONES = sorted(files(tzdata).joinpath("zones").read_text().split())
DAY = timedelta(days=1)
FIRST = date(2026, 1, 1)

# The same words as spec section 5, by counting days instead of by asking what day it is.
OWN: dict[str, Callable[[date, date], bool]] = {
    "daily": lambda day, start: day >= start,
    "weekdays": lambda day, start: (day.toordinal() - 1) % 7 < 5,
    "weekly": lambda day, start: (day.toordinal() - start.toordinal()) % 7 == 0,
    "alternate_days": lambda day, start: (day.toordinal() - start.toordinal()) % 2 == 0,
    "Sundays": lambda day, start: day.toordinal() % 7 == 0,
}


Asked = tuple[WantedLessons, int, str, set[date], datetime]


def asked(
    kind: str, day: int, minute: int, minutes: int, count: int, zone: str, closed: int, ahead: int
) -> Asked:  # fmt: skip
    """Of whole numbers, which are drawn fast. `closed`: a bit per day from the start on; `ahead`: minutes to now."""
    start = FIRST + day * DAY
    at = time(*divmod(minute, 60))
    every = "weekly" if kind == "Sundays" else kind
    wanted = WantedLessons(start, at, minutes, every, kind == "Sundays", learning_mode="online", group_size=1)
    holidays = {start + n * DAY for n in range(40) if closed >> n & 1}
    return wanted, count, zone, holidays, datetime(2025, 12, 1, tzinfo=UTC) + timedelta(minutes=ahead)


PLANS = st.builds(
    asked, st.sampled_from(sorted(OWN)), st.integers(0, 4 * 365), st.integers(0, 1439), st.integers(1, 600),
    st.integers(1, 12), st.sampled_from(ZONES), st.integers(0, 2**40 - 1), st.integers(0, 4 * 366 * 1440),
)  # fmt: skip


def is_own(wanted: WantedLessons, day: date) -> bool:
    return OWN["Sundays" if wanted.sunday_only else wanted.schedule_type](day, wanted.start_date)


def require_a_plan(wanted: WantedLessons, count: int, zone: str, holidays: set[date], now: datetime) -> None:
    first, moved = first_day(wanted, zone, now, holidays)
    lessons = plan_lessons(wanted, count, zone, first, holidays)

    assert [lesson.number for lesson in lessons] == list(range(1, count + 1))
    assert lessons[0].starts_at > now
    days: list[date] = []
    for lesson in lessons:
        wall = lesson.asked_local or lesson.local
        days.append(wall.date())
        assert wall.time() == wanted.start_time
        assert lesson.ends_at - lesson.starts_at == timedelta(minutes=wanted.minutes)
        assert lesson.starts_at.astimezone(zone_named(zone)).replace(tzinfo=None, fold=0) == lesson.local
        assert (lesson.clock == "gap") == (wall < lesson.local)
        assert lesson.local - wall < DAY
    assert all(is_own(wanted, day) and day not in holidays for day in days)
    assert all(one.starts_at < two.starts_at for one, two in pairwise(lessons))
    # None left out: every own day between the first and the last is there, but for holidays.
    span = [days[0] + ahead * DAY for ahead in range((days[-1] - days[0]).days + 1)]
    assert days == [day for day in span if is_own(wanted, day) and day not in holidays]
    if moved:
        assert days[0] > now.astimezone(zone_named(zone)).date()
    else:
        before = [wanted.start_date + ahead * DAY for ahead in range((days[0] - wanted.start_date).days)]
        assert not [day for day in before if is_own(wanted, day) and day not in holidays]


@pytest.mark.parametrize("examples", [2_500, pytest.param(50_000, marks=pytest.mark.soak)])
def test_any_plan_has_its_lessons_on_its_own_days_at_its_own_time(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, derandomize=examples < 50_000)
    @given(PLANS)
    def holds(plan: Asked) -> None:
        require_a_plan(*plan)

    holds()
