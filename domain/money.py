"""Format amounts of money and coins for people, and split them so that nothing is lost (spec section 10)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_WHOLE = ("CLP", "ISK", "JPY", "KRW", "UGX", "VND", "XAF", "XOF", "XPF")  # currencies without minor units


def amount(minor: int, currency: str) -> str:
    """Format an amount of minor units for people, such as `400.00 GBP`."""
    return f"{minor} {currency}" if currency in _WHOLE else f"{minor // 100}.{minor % 100:02d} {currency}"


def shares(amount_minor: int, n: int) -> list[int]:
    """Split `amount_minor` into `n` parts that add up to it and differ by 1 at most, larger first.

    Raises ValueError.
    """
    if amount_minor < 0 or n < 1:
        raise ValueError(f"{amount_minor} cannot be split into {n} parts")
    each, over = divmod(amount_minor, n)
    return [each + 1] * over + [each] * (n - over)


def undelivered(amount_minor: int, lessons: int, delivered: Collection[int]) -> int:
    """Return how much of the price of lessons 1..`lessons` is owed back once those numbered `delivered` were given.

    Each lesson costs its share; a number above `lessons` was never paid for, so it costs nothing.
    """
    price = shares(amount_minor, lessons)
    return amount_minor - sum(price[number - 1] for number in set(delivered) if 1 <= number <= lessons)


def owed_back(amount: int, refund: str, lessons: int | None, delivered: Collection[int]) -> int:
    """Return how much of a line's cost goes back, in minor units or coins: all, unless a cancel said otherwise.

    `refund`: full, undelivered (without lessons planned, `lessons` None, that is all) or none.
    """
    if refund == "none":
        return 0
    if refund == "undelivered" and lessons is not None:
        return undelivered(amount, lessons, delivered)
    return amount


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` into parts that add up to it, each in proportion to its weight.

    The largest remainders get odd units.

    With `total` up to the sum of the weights no part is more than its weight. Equal remainders: the first wins.
    Raises ValueError.
    """
    whole = sum(weights)
    if total < 0 or min(weights, default=0) < 0 or (whole == 0 and total):
        raise ValueError(f"{total} cannot be split by these weights")
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda at: -(total * weights[at] % whole))
    for at in remainders[: total - sum(parts)]:
        parts[at] += 1
    return parts
