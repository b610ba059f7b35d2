"""redeem_coins and recredit_coins: no coin is lost, none is taken twice, none that is not there (mission rows 69, I7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from activities.coins import CoinActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from db.engine import make_engine
from db.grants import WORKER
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide
from tests.build import rows, run, value
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role

AFTER_THREE = datetime(2026, 12, 3, 19, 0, tzinfo=UTC)  # lesson 3 of ten daily ones ends this very moment
BALANCE = "SELECT coins FROM coin_balances WHERE student_id = 'student-1'"
MOVED = "SELECT key, coins FROM coin_movements WHERE kind IN ('redemption', 'recredit') ORDER BY coins"


@pytest.fixture
def coins(engine: Engine, clock: Callable[[], datetime]) -> CoinActivities:
    return CoinActivities(engine, clock)


def bought(engine: Engine, cost: int, payment_id: str = "pay-1") -> PurchaseOrder:
    """A started line that costs coins."""
    build.pay(engine, None, payment_id, coins=cost)
    return build.start(engine, payment_id)


def top_up(engine: Engine, coins: int) -> None:
    run(
        engine,
        "INSERT INTO coin_movements VALUES (gen_random_uuid()::text, 'student-1', 'top_up', :coins, NULL, 'ann', 'why', now())",
        coins=coins,
    )


def test_coins_go_and_come_back_each_under_the_key_of_the_line(engine: Engine, coins: CoinActivities) -> None:
    build.student(engine, coins=500)
    order = bought(engine, 200)
    coins.redeem_coins(order)
    assert value(engine, BALANCE) == 300
    assert coins.recredit_coins(order) == Undone(changed=True)
    assert value(engine, BALANCE) == 500
    assert rows(engine, MOVED) == [("payment:pay-1:1:COIN_REDEMPTION", -200), ("payment:pay-1:1:COIN_RECREDIT", 200)]
    assert value(engine, "SELECT count(*) FROM coin_movements WHERE purchase_id = :id", id=order.purchase_id) == 2


@pytest.mark.parametrize("has", [0, 199])
def test_too_few_coins_are_refused_in_words_and_nothing_is_taken_until_there_are_enough(
    engine: Engine, coins: CoinActivities, has: int
) -> None:
    build.student(engine, coins=has)
    order = bought(engine, 200)
    with pytest.raises(Refused) as refused:
        coins.redeem_coins(order)
    assert refused.value.code == "COINS_INSUFFICIENT"
    assert refused.value.message == f"the line costs 200 coins, the student has {has}"
    assert rows(engine, MOVED) == rows(engine, "SELECT * FROM purchase_steps") == []
    assert value(engine, BALANCE) == (has or None)
    top_up(engine, 200 - has)
    coins.redeem_coins(order)
    assert value(engine, BALANCE) == 0


def test_a_line_that_costs_no_coins_moves_none(engine: Engine, coins: CoinActivities) -> None:
    build.student(engine)
    order = bought(engine, 0)
    coins.redeem_coins(order)
    assert coins.recredit_coins(order) == Undone(changed=True)
    assert rows(engine, "SELECT * FROM coin_movements") == []


def test_coins_that_were_not_redeemed_are_not_given_back(engine: Engine, coins: CoinActivities) -> None:
    build.student(engine, coins=100)
    order = bought(engine, 200)
    with pytest.raises(Refused):
        coins.redeem_coins(order)
    assert coins.recredit_coins(order) == Undone(changed=False)
    assert value(engine, BALANCE) == 100


def test_a_line_is_redeemed_once_for_good_whatever_the_ledger_forgot(engine: Engine, coins: CoinActivities) -> None:
    build.student(engine, coins=500)
    order = bought(engine, 200)
    coins.redeem_coins(order)
    run(engine, "DELETE FROM purchase_steps")
    with pytest.raises(IntegrityError, match="coin_movements_pkey"):
        coins.redeem_coins(order)
    assert value(engine, BALANCE) == 300


def test_create_purchase_says_what_the_line_costs_also_the_second_time(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]
) -> None:
    build.student(engine)
    build.item(engine)
    build.pay(engine, fake_provider, coins=200)
    order = build.start(engine)
    PaymentActivities(engine, fake_provider, clock).confirm_payment(order)
    purchases = PurchaseActivities(engine, clock)
    assert [purchases.create_purchase(order).coins for _ in range(2)] == [200, 200]


def at_once(calls: list[Callable[[], Any]]) -> list[str]:
    """All calls together; `done`, or the code each was refused with."""

    def answer(call: Callable[[], Any]) -> str:
        try:
            call()
        except Refused as refused:
            return refused.code
        return "done"

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(answer, calls))


@pytest.mark.parametrize("many", [12, pytest.param(240, marks=pytest.mark.soak)])
def test_many_purchases_at_once_never_take_more_than_there_is(database_url: str, many: int) -> None:
    """A round of 12 purchases that want 200 of 1,000 coins each: five get them."""
    engine = make_engine(as_role(WORKER, database_url), pool_size=12)
    activities = CoinActivities(engine, lambda: build.NOW)
    for first in range(0, many, 12):
        student = build.student(engine, f"student-{first}", coins=1000)
        orders: list[PurchaseOrder] = []
        for number in range(first, first + 12):
            build.pay(engine, None, f"pay-{number}", student_id=student, coins=200)
            orders.append(build.start(engine, f"pay-{number}", student_id=student))
        answers = at_once([lambda order=order: activities.redeem_coins(order) for order in orders])
        assert (answers.count("done"), answers.count("COINS_INSUFFICIENT")) == (5, 7)
        assert value(engine, "SELECT coins FROM coin_balances WHERE student_id = :id", id=student) == 0
    assert value(engine, "SELECT sum(coins) FROM coin_movements") == 0
    engine.dispose()


def test_redemptions_re_credits_and_top_ups_at_once_lose_no_coin(database_url: str) -> None:
    engine = make_engine(as_role(WORKER, database_url), pool_size=12)
    activities = CoinActivities(engine, lambda: build.NOW)
    build.student(engine, coins=800)
    kept, returned = ([bought(engine, 100, f"{kind}-{n}") for n in range(4)] for kind in ("kept", "returned"))
    for order in returned:
        activities.redeem_coins(order)
    at_once(
        [
            *[lambda order=order: activities.redeem_coins(order) for order in kept],
            *[lambda order=order: activities.recredit_coins(order) for order in returned],
            *[lambda: top_up(engine, 10)] * 4,
        ]
    )
    assert value(engine, BALANCE) == 800 - 400 + 40
    engine.dispose()


def taught(engine: Engine, cost: int) -> PurchaseOrder:
    """A purchase whose coins are redeemed, with ten lessons, daily at 18:00 from 1 December on."""
    build.student(engine, coins=5000)
    order = build.purchase(engine)
    run(engine, "UPDATE payment_lines SET coins = :coins", coins=cost)
    build.trainer(engine)
    CoinActivities(engine, lambda: build.NOW).redeem_coins(order)
    trainers = TrainerActivities(engine, lambda: build.NOW)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)
    SessionActivities(engine, lambda: build.NOW).create_sessions(order)
    return order


@pytest.mark.parametrize(
    ("refund", "cost", "now", "back"),
    [
        ("full", 1009, AFTER_THREE, 1009),
        (None, 1009, AFTER_THREE, 1009),
        ("undelivered", 1000, build.NOW, 1000),
        ("undelivered", 1000, AFTER_THREE, 700),
        ("undelivered", 1009, AFTER_THREE, 706),
        ("undelivered", 2, AFTER_THREE, 0),
        ("none", 1000, AFTER_THREE, 0),
    ],
)
def test_as_much_comes_back_of_the_coins_as_of_the_money(
    engine: Engine, refund: str | None, cost: int, now: datetime, back: int
) -> None:
    order = taught(engine, cost)
    decide(engine, order, "cancel", refund=refund)
    SessionActivities(engine, lambda: now).cancel_sessions(order)
    later = CoinActivities(engine, lambda: now)
    assert [later.recredit_coins(order) for _ in range(2)] == [Undone(changed=True)] * 2
    assert value(engine, BALANCE) == 5000 - cost + back
    with pytest.raises(Refused, match="made whole before"):
        later.redeem_coins(order)


def test_the_first_re_credit_stands_whatever_is_decided_later(engine: Engine) -> None:
    order = taught(engine, 1000)
    decide(engine, order, "cancel", refund="none")
    later = CoinActivities(engine, lambda: AFTER_THREE)
    later.recredit_coins(order)
    said = json.dumps({"refund": "full"})
    run(
        engine,
        "INSERT INTO operator_decisions VALUES (:id, 'late', 1, 'cancel', CAST(:said AS jsonb), 'ann', 'why', now())",
        id=order.purchase_id, said=said,
    )  # fmt: skip
    assert later.recredit_coins(order) == Undone(changed=True)
    assert value(engine, BALANCE) == 4000
