"""The lesson plan: the right days, exactly N of them, in the future (mission rows 63-65, C11; spec section 10)."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.refusals import Refused
from domain.schedule import first_day, plan_lessons, start_warning, zone_named
from domain.wanted_lessons import SCHEDULE_TYPES, WantedLessons

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MONDAY = date(2027, 3, 1)
ZONES = ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Asia/Ulaanbaatar", "Australia/Lord_Howe",
         "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Nuuk", "Africa/Casablanca", "Antarctica/Troll"]  # fmt: skip


def wanted(
    start: date = MONDAY, at: time = time(18), kind: str = "daily", sunday_only: bool = False, minutes: int = 60
) -> WantedLessons:
    return WantedLessons(start, at, minutes, kind, sunday_only, learning_mode="online", group_size=1)


def days_of(asked: WantedLessons, count: int, holidays: set[date] | None = None, zone: str = "UTC") -> list[date]:
    closed = holidays or set()
    first, _ = first_day(asked, zone, LONG_AGO)
    return [lesson.local.date() for lesson in plan_lessons(asked, count, zone, first, closed)]


def march(*days: int) -> list[date]:
    return [date(2027, 3, 1) + timedelta(days=day - 1) for day in days]


series = st.builds(
    wanted,
    start=st.dates(date(2026, 6, 1), date(2028, 1, 1)),
    at=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    kind=st.sampled_from(SCHEDULE_TYPES),
    sunday_only=st.booleans(),
    minutes=st.integers(1, 720),
)
moments = st.integers(0, 880 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@pytest.mark.parametrize(
    ("kind", "days"),
    [
        ("daily", march(1, 2, 3, 4, 5, 6)),
        ("weekdays", march(1, 2, 3, 4, 5, 8)),
        ("weekly", march(1, 8, 15, 22, 29, 36)),
        ("alternate_days", march(1, 3, 5, 7, 9, 11)),
    ],
)
def test_each_schedule_type_has_its_own_days(kind: str, days: list[date]) -> None:
    assert days_of(wanted(kind=kind), 6) == days


@pytest.mark.parametrize("kind", SCHEDULE_TYPES)
def test_sunday_only_wins_and_starts_on_the_first_sunday_on_or_after_the_start(kind: str) -> None:
    assert days_of(wanted(kind=kind, sunday_only=True), 3) == march(7, 14, 21)
    assert days_of(wanted(start=date(2027, 3, 7), kind=kind, sunday_only=True), 3) == march(7, 14, 21)


def test_weekdays_asked_from_a_saturday_start_on_monday() -> None:
    assert days_of(wanted(start=date(2027, 3, 6), kind="weekdays"), 2) == march(8, 9)


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York"])
def test_ten_sundays_stay_ten_consecutive_sundays_across_a_clock_change(zone: str) -> None:
    asked = wanted(start=date(2027, 2, 17), sunday_only=True)
    lessons = plan_lessons(asked, 10, zone, first_day(asked, zone, NOW)[0])
    sundays = [date(2027, 2, 21) + timedelta(weeks=n) for n in range(10)]
    assert [lesson.local for lesson in lessons] == [datetime.combine(day, time(18)) for day in sundays]
    assert len({lesson.starts_at.time() for lesson in lessons}) == 2


@pytest.mark.parametrize(
    ("kind", "holidays", "days"),
    [
        ("daily", march(2, 3), march(1, 4, 5, 6)),
        ("weekdays", march(5), march(1, 2, 3, 4, 8)[:4]),
        ("weekdays", march(4, 5), march(1, 2, 3, 8)),
        ("weekly", march(8), march(1, 15, 22, 29)),
        ("alternate_days", march(3, 4), march(1, 5, 7, 9)),
        ("daily", march(1), march(2, 3, 4, 5)),
    ],
)
def test_a_lesson_on_a_holiday_goes_to_the_next_own_day(kind: str, holidays: list[date], days: list[date]) -> None:
    assert days_of(wanted(kind=kind), 4, set(holidays)) == days


def test_a_holiday_on_a_sunday_moves_that_lesson_to_the_next_sunday() -> None:
    assert days_of(wanted(sunday_only=True), 3, {date(2027, 3, 14)}) == march(7, 21, 28)


def test_a_start_in_the_future_stays() -> None:
    assert first_day(wanted(), "Europe/London", NOW) == (MONDAY, False)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (time(12, 1), (date(2026, 11, 21), False)),
        (time(12, 0), (date(2026, 11, 22), True)),
        (time(11, 59), (date(2026, 11, 22), True)),
    ],
)
def test_a_first_lesson_that_is_not_in_the_future_moves_to_tomorrow(at: time, expected: tuple[date, bool]) -> None:
    assert first_day(wanted(start=date(2026, 11, 21), at=at), "UTC", NOW) == expected


@pytest.mark.parametrize(
    ("kind", "sunday_only", "start", "moved_to"),
    [
        ("daily", False, date(2026, 11, 1), date(2026, 11, 22)),
        ("weekdays", False, date(2026, 11, 2), date(2026, 11, 23)),
        ("weekly", False, date(2026, 11, 4), date(2026, 11, 25)),
        ("alternate_days", False, date(2026, 11, 1), date(2026, 11, 23)),
        ("alternate_days", False, date(2026, 11, 2), date(2026, 11, 22)),
        ("daily", True, date(2026, 11, 4), date(2026, 11, 22)),
        ("weekly", False, date(1970, 1, 1), date(2026, 11, 26)),
    ],
)
def test_a_passed_series_keeps_its_weekday_and_rhythm(
    kind: str, sunday_only: bool, start: date, moved_to: date
) -> None:
    assert first_day(wanted(start=start, kind=kind, sunday_only=sunday_only), "UTC", NOW) == (moved_to, True)


def test_tomorrow_is_the_students_tomorrow() -> None:
    asked = wanted(start=date(2026, 11, 1), at=time(1))
    assert first_day(asked, "Pacific/Kiritimati", NOW) == (date(2026, 11, 23), True)
    assert first_day(asked, "Pacific/Pago_Pago", NOW) == (date(2026, 11, 22), True)


def test_a_passed_series_does_not_start_on_a_holiday_it_is_told_of() -> None:
    asked = wanted(start=date(2026, 11, 1))
    assert first_day(asked, "UTC", NOW, {date(2026, 11, 22)}) == (date(2026, 11, 23), True)


def test_a_moved_start_is_explained_and_a_kept_one_is_not() -> None:
    assert start_warning(wanted(), MONDAY, moved=False) is None
    sunday = start_warning(wanted(sunday_only=True), date(2027, 3, 7), moved=False)
    assert sunday == "startDate 2027-03-01 is no day of lessons: lessons start on 2027-03-07"
    passed = start_warning(wanted(), date(2027, 3, 9), moved=True)
    assert passed == "startDate 2027-03-01 has passed: lessons start on 2027-03-09"


@pytest.mark.parametrize("zone", ["", "Mars/Phobos", "europe/london", "../../etc/passwd", "Europe", "\0", "UTC\n"])
def test_an_unknown_zone_is_a_typed_refusal(zone: str) -> None:
    with pytest.raises(Refused) as refusal:
        zone_named(zone)
    assert refusal.value.code == "STUDENT_PROFILE_MISSING"
    assert refusal.value.message.isprintable()


def test_a_thousand_weekly_lessons_in_the_last_plausible_year_can_be_planned() -> None:
    asked = wanted(start=date(2200, 12, 31), kind="weekly")
    assert len(plan_lessons(asked, 1000, "Asia/Kolkata", asked.start_date)) == 1000


def test_days_that_are_closed_for_ever_are_a_typed_refusal() -> None:
    sundays = {date(2200, 12, 28) + timedelta(weeks=week) for week in range(100 * 53)}
    asked = wanted(start=date(2200, 12, 28), sunday_only=True)
    with pytest.raises(Refused) as refusal:
        plan_lessons(asked, 1, "UTC", asked.start_date, sundays)
    assert refusal.value.code == "METADATA_INCOMPLETE"


@given(
    asked=series, count=st.integers(0, 60), zone=st.sampled_from(ZONES), now=moments,
    holidays=st.sets(st.dates(date(2026, 6, 1), date(2028, 12, 31)), max_size=40),
)  # fmt: skip
def test_a_plan_is_exactly_n_lessons_in_order_on_own_days_off_holidays(
    asked: WantedLessons, count: int, zone: str, now: datetime, holidays: set[date]
) -> None:
    first, _ = first_day(asked, zone, now)
    lessons = plan_lessons(asked, count, zone, first, holidays)
    assert [lesson.number for lesson in lessons] == list(range(1, count + 1))
    for lesson in lessons:
        assert lesson.starts_at > now
        assert lesson.ends_at - lesson.starts_at == timedelta(minutes=asked.minutes)
        assert lesson.starts_at == lesson.local.replace(tzinfo=zone_named(zone)).astimezone(UTC)
    for lesson, following in pairwise(lessons):
        assert lesson.ends_at <= following.starts_at
        assert lesson.local < following.local
    days = [lesson.local.date() for lesson in lessons if lesson.local.time() == asked.start_time]
    assert not holidays & set(days)
    assert all(is_own_day(asked, day) for day in days)


@given(asked=series, zone=st.sampled_from(ZONES), now=moments)
def test_the_first_day_is_in_the_future_and_on_the_rhythm(asked: WantedLessons, zone: str, now: datetime) -> None:
    first, moved = first_day(asked, zone, now)
    tomorrow = now.astimezone(zone_named(zone)).date() + timedelta(days=1)
    earliest = tomorrow if moved else asked.start_date
    assert plan_lessons(asked, 1, zone, first)[0].starts_at > now
    assert is_own_day(asked, first)
    assert earliest <= first <= earliest + timedelta(days=6)
    assert not any(is_own_day(asked, earliest + timedelta(days=n)) for n in range((first - earliest).days))


def is_own_day(asked: WantedLessons, day: date) -> bool:
    if asked.sunday_only:
        return day.strftime("%a") == "Sun"
    apart = (day - asked.start_date).days
    return {
        "daily": True,
        "weekdays": day.strftime("%a") not in ("Sat", "Sun"),
        "weekly": apart % 7 == 0,
        "alternate_days": apart % 2 == 0,
    }[asked.schedule_type]
