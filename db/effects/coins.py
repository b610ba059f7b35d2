"""Take a payment line's coins from the student's balance and give them back; a trigger keeps the balance (0003)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import CheckViolation
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from db import ledger
from db.engine import at_once
from db.rows import row_as
from domain.ids import coins_key
from domain.purchase import PurchaseOrder, Undone

# Raw: a part of the ledger's statement.
_REDEEM = """
redeemed AS (
  INSERT INTO coin_movements (key, student_id, kind, coins, purchase_id, moved_at)
  SELECT :key, :student_id, 'redemption', -line.coins, claim.purchase_id, :now
  FROM claim JOIN payment_lines AS line ON line.payment_id = :payment_id AND line.line = :line
  WHERE line.coins > 0
)"""

# Nothing redeemed, nothing given back, whatever the line costs.
_RECREDIT = """
INSERT INTO coin_movements (key, student_id, kind, coins, purchase_id, moved_at)
SELECT :back, student_id, 'recredit', :coins, purchase_id, :now
FROM coin_movements WHERE key = :key AND CAST(:coins AS bigint) > 0
"""

# Raw: both in one round trip, 0 where there is no row.
_PRICE = text("""
SELECT coalesce((SELECT coins FROM payment_lines WHERE payment_id = :payment_id AND line = :line), 0) AS coins,
       coalesce((SELECT coins FROM coin_balances WHERE student_id = :student_id), 0) AS balance
""")


@dataclass(frozen=True)
class Price:
    """What a line costs in coins, and how many the student has."""

    coins: int
    balance: int


class TooFewCoins(Exception):
    """The balance would have become negative: nothing was done."""


def redeem(engine: Engine, order: PurchaseOrder, now: datetime) -> None:
    """Take the line's coins from the balance, once. Raises TooFewCoins.

    The database decides whether there are enough, in the statement that takes them: two purchases at once cannot both
    have the last coins.
    """
    try:
        ledger.do(
            engine,
            order,
            "redeem_coins",
            {},
            _REDEEM,
            now=now,
            key=coins_key(order.payment_id, order.line, "redemption"),
            student_id=order.student_id,
            payment_id=order.payment_id,
            line=order.line,
        )
    except IntegrityError as error:
        if isinstance(error.orig, CheckViolation) and error.orig.diag.constraint_name == "balance_not_negative":
            raise TooFewCoins from error
        raise


def recredit(engine: Engine, order: PurchaseOrder, coins: int, now: datetime) -> Undone:
    """Give back `coins` of the redeemed coins, once; 0 gives none back and is an undo all the same."""
    redemption, back = (coins_key(order.payment_id, order.line, movement) for movement in ("redemption", "recredit"))
    values = {"key": redemption, "back": back, "coins": coins}
    return ledger.undo(engine, order, "redeem_coins", _RECREDIT, now=now, **values)


def price(engine: Engine, order: PurchaseOrder) -> Price:
    """Read what the line costs in coins and what the student has at this moment."""
    values = {"payment_id": order.payment_id, "line": order.line, "student_id": order.student_id}
    with at_once(engine) as connection:
        return row_as(Price, connection.execute(_PRICE, values))
