"""The number of lessons: tier, else count, else 30 (mission rows 33, 55, 75)."""

from typing import Any

import pytest

from domain.session_count import SessionCount, resolve_session_count


@pytest.mark.parametrize("tier", [10, 20, 30])
def test_a_known_tier_wins_over_everything(tier: int) -> None:
    assert resolve_session_count({"purchaseTier": tier, "sessionCount": 7}) == SessionCount(tier, "purchaseTier")


@pytest.mark.parametrize("tier", [0, -1, 15, "20", 20.0, True, None, "abc", [20], {"tier": 20}, 10**30])
def test_any_other_tier_says_nothing(tier: Any) -> None:
    assert resolve_session_count({"purchaseTier": tier, "sessionCount": 8}) == SessionCount(8, "sessionCount")
    assert resolve_session_count({"purchaseTier": tier}) == SessionCount(30, "default")


@pytest.mark.parametrize("count", [1, 7, 24, 999, 1000])
def test_a_count_from_1_to_1000_is_taken(count: int) -> None:
    assert resolve_session_count({"sessionCount": count}) == SessionCount(count, "sessionCount")


@pytest.mark.parametrize("count", [0, -1, 1001, "20", 20.0, float("nan"), True, False, None, "abc", [], 10**30])
def test_any_other_count_falls_back_to_the_default(count: Any) -> None:
    assert resolve_session_count({"sessionCount": count}) == SessionCount(30, "default")


def test_nothing_said_is_30_and_flagged() -> None:
    resolved = resolve_session_count({})
    assert (resolved.count, resolved.source) == (30, "default")
    assert resolved.warning is not None


@pytest.mark.parametrize("fields", [{"purchaseTier": 10}, {"sessionCount": 30}])
def test_a_count_that_was_said_is_not_flagged(fields: dict[str, Any]) -> None:
    assert resolve_session_count(fields).warning is None
