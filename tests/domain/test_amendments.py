"""An operator's word over what was settled: it wins key by key, and what hung on the old word is open again."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from domain.amendments import PurchaseTerms, amended, moves, overrides

BEFORE = PurchaseTerms(
    fields={"timeSlot": "18:00", "startDate": "2026-12-01", "purchaseTier": 10},
    sources={"timeSlot": "payment", "startDate": "event", "purchaseTier": "payment"},
    extras={"classTime": "18:00"},
    warnings=[
        "startDate 2026-01-01 has passed: lessons start on 2026-12-01",
        "neither purchaseTier nor sessionCount says how many lessons: 30 by default",
        "timeSlot: classTime says '18:00', but timeSlot says '19:00'",
    ],
    session_count=10,
    session_count_source="purchaseTier",
    series_start=date(2026, 12, 1),
)


def test_the_operators_fields_win_and_say_so() -> None:
    after = amended(
        BEFORE, {"timeSlot": "19:00", "groupSize": 2, "startDate": None, "itemId": "x", "treatAs": "renewal"}
    )
    assert after.fields == {"timeSlot": "19:00", "startDate": "2026-12-01", "purchaseTier": 10, "groupSize": 2}
    assert after.sources == {"timeSlot": "admin", "startDate": "event", "purchaseTier": "payment", "groupSize": "admin"}
    assert after.extras == BEFORE.extras


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"sessionCount": 12}, (12, "sessionCount")),
        ({"purchaseTier": 20}, (20, "purchaseTier")),
        ({"sessionCount": 12, "purchaseTier": 20}, (20, "purchaseTier")),
        ({"timeSlot": "19:00"}, (10, "purchaseTier")),
    ],
)
def test_a_count_that_is_given_is_the_count_whatever_tier_was_paid_for(
    values: dict[str, Any], count: tuple[int, str]
) -> None:
    after = amended(BEFORE, values)
    assert (after.session_count, after.session_count_source) == count
    assert any("by default" in said for said in after.warnings) is (count[0] == 10)


@pytest.mark.parametrize(
    ("values", "moved"),
    [
        ({"timeSlot": "19:00"}, True),
        ({"startDate": "2026-12-02"}, True),
        ({"isSundayOnly": True}, True),
        ({"scheduleType": "weekly"}, True),
        ({"sessionDuration": 90}, True),
        ({"timeSlot": "18:00"}, False),
        ({"groupSize": 2, "sessionCount": 20}, False),
    ],
)
def test_the_first_day_is_open_again_exactly_when_the_times_change(values: dict[str, Any], moved: bool) -> None:
    after = amended(BEFORE, values)
    assert moves(BEFORE, values) is moved
    assert (after.series_start is None) is moved
    assert any(said.startswith("startDate ") for said in after.warnings) is not moved
    assert any(said.startswith("timeSlot: ") for said in after.warnings)


def test_what_create_sessions_is_given_is_an_amendment_under_other_names() -> None:
    assert overrides({"count": 5, "timeSlot": "19:00", "startDate": None}) == {"sessionCount": 5, "timeSlot": "19:00"}
    assert overrides({"count": None}) == {}
