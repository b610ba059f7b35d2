"""The laws every step obeys: do twice = once, do + undo = before, undo alone = nothing, do after undo = refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.cart import CartActivities
from activities.coins import CoinActivities
from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.test_cards import CardActivities
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from tests import build
from tests.activities.counting import round_trips
from tests.activities.world import in_force, written
from tests.gateways.in_memory import FakeProvider
from tests.subjects import bundle


@dataclass(frozen=True)
class Steps:
    """All activities on one database, and an order for which the step under test comes next."""

    payment: PaymentActivities
    purchase: PurchaseActivities
    coins: CoinActivities
    enrollment: EnrollmentActivities
    cards: CardActivities
    cart: CartActivities
    order: PurchaseOrder


@dataclass(frozen=True)
class Case:
    """One step. `before`: the steps done first. `undo`: None where there is none. `trips`: round trips when it is first.

    `buys`: the item it is a step of.
    """

    do: Callable[[Steps], Callable[[PurchaseOrder], Any]]
    undo: Callable[[Steps], Callable[[PurchaseOrder], Undone]] | None
    trips: int
    before: tuple[Callable[[Steps], Callable[[PurchaseOrder], Any]], ...] = ()
    buys: tuple[str, str] = ("course", "course-piano")


CONFIRM = Case(lambda s: s.payment.confirm_payment, lambda s: s.payment.refund_payment, 2)
CREATE = Case(lambda s: s.purchase.create_purchase, lambda s: s.purchase.void_purchase, 2, (CONFIRM.do,))
COINS = Case(lambda s: s.coins.redeem_coins, lambda s: s.coins.recredit_coins, 1, (*CREATE.before, CREATE.do))
ENROLL = Case(lambda s: s.enrollment.enroll, lambda s: s.enrollment.unenroll, 1, (*CREATE.before, CREATE.do))
CARDS = Case(
    lambda s: s.cards.issue_test_cards,
    lambda s: s.cards.void_test_cards,
    4,  # a transaction: they are counted before they stand
    (*CREATE.before, CREATE.do),
    ("bundle", "science"),
)
CLEAR = Case(lambda s: s.cart.clear_cart, None, 1, (*CREATE.before, CREATE.do))

CASES = {
    "confirm_payment": CONFIRM,
    "create_purchase": CREATE,
    "redeem_coins": COINS,
    "enroll": ENROLL,
    "issue_test_cards": CARDS,
    "clear_cart": CLEAR,
}
UNDOABLE = {name: case for name, case in CASES.items() if case.undo}
# refund_payment asks the provider, not the ledger (tests/activities/test_payment.py)
IN_DATABASE = {name: case for name, case in UNDOABLE.items() if case is not CONFIRM}


def each(cases: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


@pytest.fixture
def steps(
    request: pytest.FixtureRequest, engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]
) -> Steps:
    case: Case = request.getfixturevalue("case")
    build.student(engine, coins=500)
    build.item(engine)
    build.cart_item(engine, "cart-1")
    build.cart_item(engine, "cart-2")
    bundle(engine, "science", ("physics", "biology"))
    build.pay(engine, fake_provider, coins=200, items=(case.buys,))
    return Steps(
        PaymentActivities(engine, fake_provider, clock),
        PurchaseActivities(engine, clock),
        CoinActivities(engine, clock),
        EnrollmentActivities(engine, clock),
        CardActivities(engine, clock),
        CartActivities(engine, clock),
        build.start(engine),
    )


def prepare(case: Case, steps: Steps) -> None:
    for earlier in case.before:
        earlier(steps)(steps.order)


@each(CASES)
def test_doing_it_twice_is_doing_it_once_with_the_first_answer(case: Case, steps: Steps, engine: Engine) -> None:
    prepare(case, steps)
    untouched = written(engine)
    first = case.do(steps)(steps.order)
    after = written(engine)
    assert case.do(steps)(steps.order) == first
    assert written(engine) == after
    assert after != untouched or case is CONFIRM  # confirming only reads; what it settled is in the ledger


@each(UNDOABLE)
def test_doing_and_undoing_it_leaves_in_force_what_was_before(case: Case, steps: Steps, engine: Engine) -> None:
    assert case.undo
    prepare(case, steps)
    before = in_force(engine)
    case.do(steps)(steps.order)
    assert case.undo(steps)(steps.order).changed
    assert in_force(engine) == before


@each(UNDOABLE)
def test_undoing_it_twice_is_undoing_it_once_with_the_first_answer(case: Case, steps: Steps, engine: Engine) -> None:
    assert case.undo
    prepare(case, steps)
    case.do(steps)(steps.order)
    first = case.undo(steps)(steps.order)
    after = written(engine)
    assert case.undo(steps)(steps.order) == first
    assert written(engine) == after


@each(IN_DATABASE)
def test_undoing_what_never_happened_changes_nothing_every_time(case: Case, steps: Steps, engine: Engine) -> None:
    assert case.undo
    prepare(case, steps)
    before = written(engine)
    assert [case.undo(steps)(steps.order) for _ in range(2)] == [Undone(False), Undone(False)]
    assert written(engine) == before


@pytest.mark.parametrize("done_before", [False, True], ids=["a tombstone", "a do and its undo"])
@each(UNDOABLE)
def test_a_do_after_its_undo_is_refused_and_changes_nothing(
    case: Case, done_before: bool, steps: Steps, engine: Engine
) -> None:
    assert case.undo
    prepare(case, steps)
    if done_before:
        case.do(steps)(steps.order)
    case.undo(steps)(steps.order)
    before = written(engine)
    with pytest.raises(Refused) as refused:
        case.do(steps)(steps.order)
    assert refused.value.code == "ALREADY_MADE_WHOLE"
    assert written(engine) == before


@each(CASES)
def test_it_takes_no_more_round_trips_than_planned(case: Case, steps: Steps, engine: Engine) -> None:
    prepare(case, steps)
    with round_trips(engine) as sent:
        case.do(steps)(steps.order)
    assert len(sent) == case.trips, sent


def test_a_second_attempt_of_the_line_has_a_ledger_of_its_own(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]
) -> None:
    build.student(engine)
    build.pay(engine, fake_provider, status="failed")
    first = build.start(engine)
    payments = PaymentActivities(engine, fake_provider, clock)
    with pytest.raises(Refused):
        payments.confirm_payment(first)
    payments.refund_payment(first)
    fake_provider.set_status("pay-1", "succeeded")
    second = replace(first, attempt=2)
    assert payments.confirm_payment(second).session_count == 10
