"""Who can give all the lessons, who comes first, why the others lost (mission rows 73, 80; spec section 10)."""

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.matching import Match, Place, TrainerFacts, Window, place_of, rank
from domain.refusals import Refused
from domain.schedule import Lesson, plan_lessons, zone_named
from domain.wanted_lessons import WantedLessons

HOME = Place(51.5, -0.12)
ALL_WEEK = tuple(Window(weekday, time(6), time(22, 30)) for weekday in range(1, 8))
MONDAY = date(2027, 3, 1)


def trainer(id: str = "t", **facts: Any) -> TrainerFacts:
    usual: dict[str, Any] = {
        "zone": "Europe/London",
        "place": HOME,
        "radius_km": 30,
        "windows": ALL_WEEK,
        "blocked_days": frozenset(),
        "max_group_size": None,
        "busy": False,
        "load": 0,
        "last_assigned_at": None,
    }
    return TrainerFacts(id=id, **{**usual, **facts})


def lessons(
    at: time = time(18), minutes: int = 60, count: int = 3, zone: str = "Europe/London", start: date = MONDAY
) -> list[Lesson]:
    asked = WantedLessons(start, at, minutes, "daily", sunday_only=False, learning_mode="online", group_size=1)
    return plan_lessons(asked, count, zone, start)


def ranked(*trainers: TrainerFacts, plan: list[Lesson] | None = None, mode: str = "online", group: int = 1) -> Match:
    return rank(trainers, lessons() if plan is None else plan, home=HOME, learning_mode=mode, group_size=group)


def reason(one: TrainerFacts, plan: list[Lesson] | None = None, mode: str = "online", group: int = 1) -> str | None:
    match = ranked(one, plan=plan, mode=mode, group=group)
    assert (match.ranked == [one.id]) is (one.id not in match.lost)
    return match.lost.get(one.id)


def window(weekday: int, start: str, end: str) -> Window:
    return Window(weekday, time.fromisoformat(start), time.fromisoformat(end))


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(51.5, -0.12), (90, 180), (-90, -180), (0, 10), (10, 0), (0.0001, 0)],
)
def test_a_real_place_is_accepted(latitude: float, longitude: float) -> None:
    assert place_of(latitude, longitude) == Place(latitude, longitude)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (None, None), (51.5, None), (None, -0.12), (0, 0), (0.0, -0.0), (90.1, 0), (-90.1, 0), (0, 180.1),
        (0, -180.1), (math.nan, 1), (1, math.nan), (math.inf, 1), (1, -math.inf), ("51.5", "-0.12"), (True, True),
        (10**400, 1), ([51.5], 1),
    ],
)  # fmt: skip
def test_no_real_place_is_a_typed_refusal(latitude: object, longitude: object) -> None:
    with pytest.raises(Refused) as refusal:
        place_of(latitude, longitude)
    assert refusal.value.code == "GPS_INVALID"


def test_the_least_loaded_comes_first_then_the_least_recently_assigned_then_the_id() -> None:
    then = datetime(2026, 11, 1, tzinfo=UTC)
    match = ranked(
        trainer("loaded", load=5),
        trainer("recent", last_assigned_at=then + timedelta(days=1)),
        trainer("b-never"),
        trainer("earlier", last_assigned_at=then),
        trainer("a-never"),
        trainer("light", load=1, last_assigned_at=then),
    )
    assert match == Match(["a-never", "b-never", "earlier", "recent", "light", "loaded"], {})


def test_nobody_known_is_nobody_ranked() -> None:
    assert ranked() == Match([], {})


def test_one_bad_lesson_of_many_is_enough_to_lose_and_is_named() -> None:
    no_wednesdays = tuple(window for window in ALL_WEEK if window.weekday != 3)
    assert reason(trainer(windows=no_wednesdays)) == "not available for lesson 3 (2027-03-03 18:00)"
    assert reason(trainer(windows=no_wednesdays), lessons(count=2)) is None


def test_a_trainer_without_windows_is_never_available() -> None:
    assert reason(trainer(windows=())) == "not available for lesson 1 (2027-03-01 18:00)"


@pytest.mark.parametrize(
    ("windows", "fits"),
    [
        ([("18:00", "19:00")], True),
        ([("17:00", "20:00")], True),
        ([("18:01", "20:00")], False),
        ([("17:00", "18:59")], False),
        ([("17:00", "18:30"), ("18:30", "20:00")], True),
        ([("17:00", "18:30"), ("18:31", "20:00")], False),
        ([("06:00", "07:00"), ("17:30", "19:30")], True),
        ([("00:00", "00:00")], True),
        ([("18:00", "18:00")], False),
        ([("17:00", "01:00")], True),
    ],
)
def test_a_lesson_must_lie_in_windows_that_leave_no_gap(windows: list[tuple[str, str]], fits: bool) -> None:
    given = tuple(window(1, start, end) for start, end in windows)
    assert (reason(trainer(windows=given), lessons(count=1)) is None) is fits


@pytest.mark.parametrize("midnight", ["23:59", "23:59:59", "23:59:59.999999", "00:00"])
def test_a_lesson_across_midnight_needs_both_days_to_touch_midnight(midnight: str) -> None:
    plan = lessons(at=time(23, 30), count=1)
    monday, tuesday = window(1, "20:00", midnight), window(2, "00:00", "08:00")
    assert reason(trainer(windows=(monday, tuesday)), plan) is None
    assert reason(trainer(windows=(monday,)), plan) is not None
    assert reason(trainer(windows=(tuesday,)), plan) is not None
    assert reason(trainer(windows=(monday, window(2, "00:01", "08:00"))), plan) is not None
    assert reason(trainer(windows=(window(1, "20:00", "23:58"), tuesday)), plan) is not None


def test_a_window_across_midnight_holds_a_lesson_across_midnight_also_from_sunday_to_monday() -> None:
    sunday = lessons(at=time(23, 30), count=1, start=date(2027, 2, 28))
    assert reason(trainer(windows=(window(7, "22:00", "00:30"),)), sunday) is None
    assert reason(trainer(windows=(window(7, "22:00", "00:29"),)), sunday) is not None


@pytest.mark.parametrize("end", ["23:59:59.999999", "00:00", "23:59"])
def test_a_lesson_that_ends_at_midnight_needs_nothing_of_the_next_day(end: str) -> None:
    plan = lessons(at=time(23), count=1)
    free = trainer(windows=(window(1, "20:00", end),), blocked_days=frozenset({date(2027, 3, 2)}))
    assert reason(free, plan) is None


def test_windows_are_in_the_trainers_zone() -> None:
    """18:00 on Monday in London is 23:30 on Monday in Kolkata, and goes on into Tuesday there."""
    monday, tuesday = window(1, "23:30", "23:59"), window(2, "00:00", "00:30")
    assert reason(trainer(zone="Asia/Kolkata", windows=(monday, tuesday)), lessons(count=1)) is None
    assert reason(trainer(zone="Asia/Kolkata", windows=ALL_WEEK), lessons(count=1)) is not None


def test_a_clock_change_of_the_student_alone_can_move_a_lesson_out_of_a_window() -> None:
    """New York changes on 14 March 2027, two weeks before London: the lesson is an hour earlier in London then."""
    plan = lessons(zone="America/New_York", at=time(13), count=5, start=date(2027, 3, 12))
    from_six = tuple(window(weekday, "18:00", "23:00") for weekday in range(1, 8))
    assert reason(trainer(windows=from_six), plan) == "not available for lesson 3 (2027-03-14 13:00)"


def test_a_clock_change_inside_a_lesson_counts_it_at_its_widest() -> None:
    """London repeats 01:00 to 02:00 on 31 October 2027: a lesson from 00:30 UTC runs 01:30 to 02:00 and 01:00 to 01:30."""
    plan = lessons(at=time(1, 30), count=1, start=date(2027, 10, 31))
    assert plan[0].starts_at == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    assert reason(trainer(windows=(window(7, "00:00", "06:00"),)), plan) is None
    assert reason(trainer(windows=(window(7, "01:30", "01:30"),)), plan) is not None
    assert reason(trainer(windows=(window(7, "01:30", "02:30"),)), plan) is not None


def test_a_blocked_day_of_the_trainer_makes_the_trainer_unavailable() -> None:
    assert reason(trainer(blocked_days=frozenset({date(2027, 3, 2)}))) == "blocked on 2027-03-02 (lesson 2)"
    assert reason(trainer(blocked_days=frozenset({date(2027, 3, 4)}))) is None


def test_a_blocked_day_is_a_day_in_the_trainers_zone() -> None:
    plan = lessons(at=time(20), count=1)  # Tuesday 01:30 in Kolkata
    night = (window(2, "00:00", "06:00"),)
    blocked = frozenset({date(2027, 3, 2)})
    lost = reason(trainer(zone="Asia/Kolkata", windows=night, blocked_days=blocked), plan)
    assert lost == "blocked on 2027-03-02 (lesson 1)"
    there = trainer(zone="Asia/Kolkata", windows=night, blocked_days=frozenset({MONDAY}))
    assert reason(there, plan) is None


def test_home_lessons_need_the_trainer_within_reach_and_online_ones_do_not() -> None:
    far = trainer(place=Place(51.5, 0.49))
    assert reason(far, mode="home") == "43 km away, takes 30 km"
    assert reason(far, mode="online") is None
    assert reason(trainer(place=Place(51.5, 0.49), radius_km=43), mode="home") is None
    assert reason(trainer(place=Place(51.5, -0.12), radius_km=0), mode="home") is None


def test_a_trainer_without_a_place_gives_no_home_lessons() -> None:
    assert reason(trainer(place=None), mode="home") == "no known place to come from"
    assert reason(trainer(place=None), mode="online") is None


def test_a_distance_just_above_the_radius_is_not_shown_as_the_radius() -> None:
    assert reason(trainer(place=Place(51.7699, -0.12)), mode="home") == "31 km away, takes 30 km"


def test_distances_go_around_the_date_line() -> None:
    near = trainer(place=Place(-18.0, -179.95))
    match = rank([near], lessons(), home=Place(-18.0, 179.95), learning_mode="home", group_size=1)
    assert match.ranked == ["t"]


def test_a_group_is_a_capacity_check_only() -> None:
    assert reason(trainer(max_group_size=2), group=4) == "group of 4 above 2"
    assert reason(trainer(max_group_size=4), group=4) is None
    assert reason(trainer(max_group_size=None), group=400) is None


def test_a_trainer_who_holds_an_overlapping_slot_loses() -> None:
    assert reason(trainer(busy=True)) == "has another lesson"


def test_an_unknown_zone_of_one_trainer_costs_only_that_trainer() -> None:
    match = ranked(trainer("lost", zone="Mars/Phobos"), trainer("fine"))
    assert match == Match(["fine"], {"lost": "the time zone (timezone) is unknown"})


@given(
    zone=st.sampled_from(["UTC", "Europe/London", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"]),
    at=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    minutes=st.integers(1, 720),
    start=st.dates(date(2027, 1, 1), date(2028, 1, 1)),
    opens=st.integers(0, 23),
    closes=st.integers(1, 24),
)
def test_availability_is_what_counting_every_minute_says(
    zone: str, at: time, minutes: int, start: date, opens: int, closes: int
) -> None:
    """A trainer in London with the same hours each day; lessons that see no clock change in London."""
    plan = lessons(at=at, minutes=minutes, count=2, zone=zone, start=start)
    end = time.max if closes == 24 else time(closes)
    hours = tuple(Window(weekday, time(opens), end) for weekday in range(1, 8))
    walls = [[_london(lesson.starts_at + timedelta(minutes=n)) for n in range(minutes)] for lesson in plan]
    # A clock change inside a lesson has its own test.
    assume(all(wall[-1] - wall[0] == timedelta(minutes=minutes - 1) for wall in walls))
    if opens < closes:
        free = all(opens <= minute.hour < closes for wall in walls for minute in wall)
    else:  # over night, or never
        free = opens != closes and all(
            minute.hour >= opens or minute.hour < closes for wall in walls for minute in wall
        )
    assert (reason(trainer(windows=hours), plan) is None) is free


def _london(moment: datetime) -> datetime:
    return moment.astimezone(zone_named("Europe/London")).replace(tzinfo=None)
