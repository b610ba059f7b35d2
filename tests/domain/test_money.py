"""Money that is split adds up, and what is owed back is never more than was paid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import apportion, owed_back, shares, undelivered

amounts = st.integers(0, 10**12)
counts = st.integers(1, 1000)


@given(amounts, counts)
def test_the_shares_add_up_and_are_as_equal_as_can_be(amount: int, n: int) -> None:
    parts = shares(amount, n)
    assert (sum(parts), len(parts)) == (amount, n)
    assert parts[0] - parts[-1] in (0, 1)
    assert parts == sorted(parts, reverse=True)


@given(amounts, counts, st.sets(st.integers(1, 1200)))
def test_what_is_owed_is_between_nothing_and_all_and_falls_with_each_lesson_given(
    amount: int, lessons: int, delivered: set[int]
) -> None:
    owed = undelivered(amount, lessons, delivered)
    assert 0 <= owed <= amount
    assert undelivered(amount, lessons, set()) == amount
    assert undelivered(amount, lessons, range(1, lessons + 1)) == 0
    missing = next((number for number in range(1, lessons + 1) if number not in delivered), None)
    if missing is not None:
        assert owed - undelivered(amount, lessons, {*delivered, missing}) == shares(amount, lessons)[missing - 1]


def test_ten_in_three_parts_is_four_three_three() -> None:
    assert shares(10, 3) == [4, 3, 3]
    assert undelivered(10, 3, {1}) == 6
    assert undelivered(10, 3, [1, 1]) == 6, "a lesson is given once"


@pytest.mark.parametrize(
    ("refund", "lessons", "back"),
    [("full", 3, 10), ("none", 3, 0), ("undelivered", 3, 6), ("undelivered", None, 10), ("none", None, 0)],
)
def test_what_goes_back_is_what_the_cancel_said(refund: str, lessons: int | None, back: int) -> None:
    assert owed_back(10, refund, lessons, {1}) == back


@pytest.mark.parametrize(("amount", "n"), [(-1, 3), (10, 0)])
def test_nothing_is_split_that_cannot_be(amount: int, n: int) -> None:
    with pytest.raises(ValueError, match="cannot be split"):
        shares(amount, n)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60).filter(any), st.data())
def test_parts_by_weight_add_up_are_in_proportion_and_never_above_their_weight(
    weights: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(weights)))
    parts = apportion(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert 0 <= part <= weight
        assert abs(part * sum(weights) - total * weight) < sum(weights), "less than one unit off"


def test_the_largest_remainder_gets_the_odd_unit() -> None:
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(100, [333, 333, 334]) == [33, 33, 34]
    assert apportion(0, [0, 0]) == [0, 0]
    for total, weights in ((1, [0, 0]), (-1, [1]), (1, [2, -1]), (1, [])):
        with pytest.raises(ValueError, match="cannot be split"):
            apportion(total, weights)
