"""Price a cart: one payment with a line per thing, by the catalogue alone (spec section 10; rows 5, 19, 92)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.money import apportion


@dataclass(frozen=True)
class ToBuy:
    """One thing in a cart, with the catalogue's facts about it; `price_minor` None: the catalogue does not have it."""

    id: str
    item_type: str
    item_id: str
    details: dict[str, Any]
    price_minor: int | None
    currency: str | None
    open: bool


@dataclass(frozen=True)
class BillLine:
    """One line of a payment; its price is `amount_minor` of money plus `coins`."""

    item_type: str
    item_id: str
    amount_minor: int
    coins: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Bill:
    """All lines of one payment; `amount_minor` and `coins` are their sums."""

    lines: list[BillLine]
    amount_minor: int
    coins: int
    currency: str


class CannotBuy(Exception):
    """The cart cannot be paid as it is. `code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def bill_of(cart: Sequence[ToBuy], *, coins: int, balance: int) -> Bill:
    """Return the bill of a cart that is paid with up to `coins` coins; 1 coin is 1 minor unit.

    Coins are spread over the lines by price, the largest remainders first; no more are taken than the cart costs.
    A free thing is a line of amount 0. Raises CannotBuy: CART_EMPTY, UNKNOWN_ITEM, COURSE_UNAVAILABLE,
    MIXED_CURRENCIES, NOTHING_TO_PAY (free things alone have a door of their own), COINS_INSUFFICIENT.
    """
    prices, currency = _prices(cart)
    total = sum(prices)
    if total == 0:
        raise CannotBuy(
            "NOTHING_TO_PAY", "All of this is free: POST /api/public/purchase-free gives it without a payment."
        )
    if coins > balance:
        raise CannotBuy("COINS_INSUFFICIENT", f"The balance is {balance} coins.")
    taken = min(coins, total)
    lines = [
        BillLine(thing.item_type, thing.item_id, price - part, part, line_metadata(thing))
        for thing, price, part in zip(cart, prices, apportion(taken, prices), strict=True)
    ]
    return Bill(lines, total - taken, taken, currency)


def line_metadata(thing: ToBuy) -> dict[str, Any]:
    """Return the student's details verbatim; we set the cart item's id and, for a course, the course's id (row 19)."""
    own = {"processingItemId": thing.id, **({"courseId": thing.item_id} if thing.item_type == "course" else {})}
    return {**thing.details, **own}


def _prices(cart: Sequence[ToBuy]) -> tuple[list[int], str]:
    if not cart:
        raise CannotBuy("CART_EMPTY", "There is nothing in the cart.")
    prices: list[int] = []
    for thing in cart:
        if thing.price_minor is None:
            raise CannotBuy("UNKNOWN_ITEM", f"The catalogue has no {thing.item_type} {thing.item_id}.")
        if not thing.open:
            raise CannotBuy("COURSE_UNAVAILABLE", f"{thing.item_type} {thing.item_id} can no longer be bought.")
        prices.append(thing.price_minor)
    currencies = sorted({thing.currency or "" for thing, price in zip(cart, prices, strict=True) if price} or {""})
    if len(currencies) > 1:
        raise CannotBuy("MIXED_CURRENCIES", f"One payment has one currency, the cart has {', '.join(currencies)}.")
    return prices, currencies[0]
