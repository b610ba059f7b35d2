"""A cart as a bill: its lines add up to it exactly, whatever it costs and however many coins (row 92, I2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import Bill, CannotBuy, ToBuy, bill_of

prices = st.lists(st.integers(0, 10**9), min_size=1, max_size=50).filter(any)
coins = st.integers(0, 10**11)


def thing(number: int = 0, price: int | None = 500, **about: Any) -> ToBuy:
    given = {"currency": "USD", "open": True, "item_type": "course", "details": {}, **about}
    return ToBuy(id=f"cart-{number}", item_id=f"course-{number}", price_minor=price, **given)


def refusal(*cart: ToBuy, coins: int = 0, balance: int = 0) -> str:
    with pytest.raises(CannotBuy) as refused:
        bill_of(cart, coins=coins, balance=balance)
    return refused.value.code


@given(prices, coins)
def test_the_lines_add_up_to_the_payment_and_each_to_its_price(prices: list[int], coins: int) -> None:
    bill = bill_of([thing(number, price) for number, price in enumerate(prices)], coins=coins, balance=coins)
    assert sum(line.amount_minor for line in bill.lines) == bill.amount_minor
    assert sum(line.coins for line in bill.lines) == bill.coins == min(coins, sum(prices))
    assert [line.amount_minor + line.coins for line in bill.lines] == prices
    assert all(line.amount_minor >= 0 and line.coins >= 0 for line in bill.lines)


@given(prices, st.integers(0, 10**10))
def test_no_more_coins_are_asked_for_than_the_student_has(prices: list[int], balance: int) -> None:
    cart = [thing(number, price) for number, price in enumerate(prices)]
    assert refusal(*cart, coins=balance + 1, balance=balance) == "COINS_INSUFFICIENT"


def test_what_the_student_said_stays_word_for_word_and_the_cart_item_is_named() -> None:
    said: dict[str, Any] = {
        "classTime": "18:00",
        "colour": {"of": ["the piano"]},
        "processingItemId": "cart-of-another",
    }
    bill: Bill = bill_of([thing(7, details=said), thing(8, item_type="subject")], coins=0, balance=0)
    assert bill.lines[0].metadata == {**said, "processingItemId": "cart-7", "courseId": "course-7"}
    assert bill.lines[1].metadata == {"processingItemId": "cart-8"}


def test_a_free_thing_beside_others_is_a_line_of_nothing() -> None:
    bill = bill_of([thing(1, 0, currency="GBP"), thing(2, 900)], coins=100, balance=100)
    assert [(line.amount_minor, line.coins) for line in bill.lines] == [(0, 0), (800, 100)]
    assert bill.currency == "USD"


def test_a_cart_that_cannot_be_paid_says_why() -> None:
    assert refusal() == "CART_EMPTY"
    assert refusal(thing(), thing(price=None, open=False)) == "UNKNOWN_ITEM"
    assert refusal(thing(), thing(open=False)) == "COURSE_UNAVAILABLE"
    assert refusal(thing(), thing(currency="GBP")) == "MIXED_CURRENCIES"
    assert refusal(thing(price=0), thing(price=0)) == "NOTHING_TO_PAY"
