"""The moment access ends: after the last day, in the student's zone (mission rows 57, C16)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access import access_ends, why_no_extension
from domain.acts import check_values
from domain.schedule import zone_named

ZONES = files("tzdata").joinpath("zones").read_text().split()
DAYS = st.dates(date(2026, 1, 1), date(2029, 12, 31))
INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("zone", "ends"),
    [
        ("Europe/London", datetime(2027, 6, 30, 23, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2027, 6, 30, 18, 30, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2027, 7, 1, 7, tzinfo=UTC)),
        (None, datetime(2027, 7, 1, tzinfo=UTC)),
        ("Mars/Olympus", datetime(2027, 7, 1, tzinfo=UTC)),
    ],
)
def test_access_lasts_through_the_last_day_where_the_student_is(zone: str | None, ends: datetime) -> None:
    assert access_ends(date(2027, 6, 30), zone) == ends


@given(st.sampled_from(ZONES), DAYS)
def test_a_moment_before_the_end_it_is_still_the_last_day_and_at_the_end_no_longer(zone: str, day: date) -> None:
    ends, where = access_ends(day, zone), zone_named(zone)
    assert (ends - INSTANT).astimezone(where).date() <= day
    assert ends.astimezone(where).date() > day


@pytest.mark.parametrize(
    ("zone", "day", "ends"),
    [  # the clocks skip midnight; and they repeat the hour before it
        ("Africa/Cairo", date(2027, 4, 29), datetime(2027, 4, 29, 22, tzinfo=UTC)),
        ("Africa/Cairo", date(2026, 10, 29), datetime(2026, 10, 29, 22, tzinfo=UTC)),
    ],
)
def test_where_the_clocks_change_at_midnight_the_day_ends_when_the_next_begins(
    zone: str, day: date, ends: datetime
) -> None:
    assert access_ends(day, zone) == ends


@pytest.mark.parametrize("day", [date.max, date.max - timedelta(days=1), date.min])
def test_the_ends_of_the_calendar_are_no_trap(day: date) -> None:
    assert (access_ends(day, "Pacific/Kiritimati") > datetime(2026, 1, 1, tzinfo=UTC)) is (day.year > 2026)


NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
MAY: dict[str, Any] = {
    "taken_back": False, "renewed_by": None, "last_day": date(2026, 11, 20), "until": date(2026, 12, 31), "now": NOW,
    "zone": "Europe/London",
}  # fmt: skip


def test_what_is_active_can_be_extended_before_its_end_and_after() -> None:
    assert why_no_extension(**MAY) is None
    assert why_no_extension(**{**MAY, "last_day": date(2026, 12, 30)}) is None
    assert why_no_extension(**{**MAY, "until": NOW.date()}) is None


@pytest.mark.parametrize(
    ("differs", "says"),
    [
        ({"taken_back": True}, "taken back"),
        ({"renewed_by": "p-2"}, "renewed by purchase p-2"),
        ({"last_day": None}, "does not end"),
        ({"last_day": date(2026, 12, 31)}, "lasts until 2026-12-31 already"),
        ({"last_day": date(2026, 1, 1), "until": date(2026, 11, 20)}, "2026-11-20 has passed"),
    ],
    ids=["voided", "renewed", "open-ended", "no longer", "past"],
)
def test_says_why_there_is_no_extension(differs: dict[str, Any], says: str) -> None:
    assert says in str(why_no_extension(**{**MAY, **differs}))


@pytest.mark.parametrize("day", [None, "", "soon", "2026-13-01", "2026-12-31T10:00", 20261231, "20261231"])
def test_an_extension_names_a_day(day: object) -> None:
    assert check_values("extend", {"expiryDate": day}) != []
    assert check_values("extend", {"expiryDate": "2026-12-31"}) == []
