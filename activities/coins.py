"""Redeem the coins a line costs; credit them back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.effects import coins as effects
from db.effects.refund_amount import refund_choice
from domain.money import owed_back
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CoinActivities:
    """redeem_coins and its undo recredit_coins (mission rows 69, I7). 1 coin is 1 minor unit."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="redeem_coins", no_thread_cancel_exception=True)
    def redeem_coins(self, order: PurchaseOrder) -> None:
        """Debit the line's coins from the student's balance, all or none. A line that costs no coins changes nothing.

        Raises COINS_INSUFFICIENT when the balance is too low, ALREADY_MADE_WHOLE after recredit_coins.
        """
        try:
            effects.redeem(self._engine, order, self._clock())
        except effects.TooFewCoins as error:
            price = effects.price(self._engine, order)
            if price.balance >= price.coins:
                raise  # topped up in between: trouble, which is tried again at once
            said = f"the line costs {price.coins} coins, the student has {price.balance}"
            raise Refused("COINS_INSUFFICIENT", said) from error
        log.info("coins_redeemed", payment_id=order.payment_id, line=order.line, workflow_id=order.workflow_id)

    @activity.defn(name="recredit_coins", no_thread_cancel_exception=True)
    def recredit_coins(self, order: PurchaseOrder) -> Undone:
        """Credit the line's coins back if they were redeemed, in the same share as the money is refunded.

        That is all of them, unless an operator's cancel said `undelivered` (the share of the lessons not given, largest
        remainders first) or `none`. With `none` the redemption stands and the step still counts as undone, so that no
        late try debits coins again.
        """
        now = self._clock()
        choice = refund_choice(self._engine, order, now)
        cost = effects.price(self._engine, order).coins
        coins = owed_back(cost, choice.refund, choice.lessons, choice.delivered)
        undone = effects.recredit(self._engine, order, coins, now)
        log.info(
            "coins_recredited",
            payment_id=order.payment_id,
            line=order.line,
            workflow_id=order.workflow_id,
            changed=undone.changed,
            coins=coins if undone.changed else 0,
        )
        return undone
