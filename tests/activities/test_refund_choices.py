"""refund_payment does what an operator's cancel said of the money: full, undelivered or none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.payment import PaymentActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder, Undone
from gateways.payments import ProviderTrouble
from tests import build
from tests.activities.deciding import decide
from tests.build import rows, run, value
from tests.gateways.in_memory import FakeProvider

KEPT = Undone(changed=True, refunded=False)
REFUNDED = Undone(changed=True, refunded=True)
AFTER_THREE = datetime(2026, 12, 3, 19, 0, tzinfo=UTC)  # lesson 3 ends this very moment
IN_THE_FOURTH = datetime(2026, 12, 4, 18, 30, tzinfo=UTC)


def taught(engine: Engine, provider: FakeProvider, amount_minor: int = 50_000) -> PurchaseOrder:
    """A purchase with ten lessons, daily at 18:00 from 1 December on, paid at the provider too."""
    order = build.purchase(engine)
    run(engine, "UPDATE payments SET amount_minor = :amount", amount=amount_minor)
    run(engine, "UPDATE payment_lines SET amount_minor = :amount", amount=amount_minor)
    build.trainer(engine)
    trainers = TrainerActivities(engine, lambda: build.NOW)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)
    SessionActivities(engine, lambda: build.NOW).create_sessions(order)
    held(provider, amount_minor)
    return order


def held(provider: FakeProvider, amount_minor: int, status: str = "succeeded") -> None:
    line = build.ProviderLine(1, amount_minor)
    provider.payments["pay-1"] = build.ProviderPayment("pay-1", "student-1", status, amount_minor, "USD", (line,))


def undo(engine: Engine, provider: FakeProvider, order: PurchaseOrder, now: datetime) -> Undone:
    """The undos that concern lessons and money, in their order."""
    SessionActivities(engine, lambda: now).cancel_sessions(order)
    return PaymentActivities(engine, provider, lambda: now).refund_payment(order)


def refunded(engine: Engine) -> list[Any]:
    return rows(engine, "SELECT status, amount_minor FROM refunds")


@pytest.mark.parametrize(
    ("now", "amount", "back"),
    [
        (build.NOW, 50_000, 50_000),
        (AFTER_THREE, 50_000, 35_000),
        (IN_THE_FOURTH, 50_000, 35_000),
        (AFTER_THREE, 1_001, 700),
        (AFTER_THREE, 1_009, 706),
        (AFTER_THREE, 2, 0),
        (datetime(2026, 12, 11, tzinfo=UTC), 50_000, 0),
    ],
    ids=["none given", "three given", "the fourth has begun", "1001", "1009", "2 of 2 given", "all given"],
)
def test_undelivered_gives_back_the_shares_of_the_lessons_not_given(
    engine: Engine, fake_provider: FakeProvider, now: datetime, amount: int, back: int
) -> None:
    order = taught(engine, fake_provider, amount)
    decide(engine, order, "cancel", refund="undelivered")
    assert undo(engine, fake_provider, order, now) == (REFUNDED if back else KEPT)
    assert undo(engine, fake_provider, order, now) == (REFUNDED if back else KEPT)
    assert refunded(engine) == ([("succeeded", back)] if back else [])
    assert [refund.amount_minor for refund in fake_provider.refunds.values()] == ([back] if back else [])
    status = "succeeded" if not back else "refunded" if back == amount else "partially_refunded"
    assert value(engine, "SELECT status FROM payments") == status
    assert value(engine, "SELECT refunded FROM purchase_starts") is (True if back else None)


def test_a_lesson_that_was_cancelled_was_not_given_even_when_its_time_is_over(
    engine: Engine, fake_provider: FakeProvider
) -> None:
    order = taught(engine, fake_provider)
    run(engine, "UPDATE sessions SET status = 'cancelled' WHERE number = 2")
    decide(engine, order, "cancel", refund="undelivered")
    undo(engine, fake_provider, order, AFTER_THREE)
    assert refunded(engine) == [("succeeded", 40_000)]


def test_the_first_amount_asked_for_stands_whatever_is_given_or_decided_later(
    engine: Engine, fake_provider: FakeProvider
) -> None:
    order = taught(engine, fake_provider)
    decide(engine, order, "cancel", refund="undelivered")
    fake_provider.fail("refund", ProviderTrouble("timed out"))
    with pytest.raises(ProviderTrouble):
        undo(engine, fake_provider, order, AFTER_THREE)
    run(engine, "UPDATE sessions SET status = 'scheduled'")
    assert undo(engine, fake_provider, order, datetime(2026, 12, 20, tzinfo=UTC)) == REFUNDED
    assert refunded(engine) == [("succeeded", 35_000)]


@pytest.mark.parametrize("choice", ["full", None])
def test_full_gives_everything_back_whatever_was_given(
    engine: Engine, fake_provider: FakeProvider, choice: str | None
) -> None:
    order = taught(engine, fake_provider)
    decide(engine, order, "cancel", refund=choice)
    assert undo(engine, fake_provider, order, AFTER_THREE) == REFUNDED
    assert refunded(engine) == [("succeeded", 50_000)]


def test_none_keeps_the_money_and_asks_the_provider_for_nothing(engine: Engine, fake_provider: FakeProvider) -> None:
    order = taught(engine, fake_provider)
    decide(engine, order, "cancel", refund="none")
    assert [undo(engine, fake_provider, order, AFTER_THREE) for _ in range(2)] == [KEPT, KEPT]
    assert refunded(engine) == []
    assert "refund" not in fake_provider.calls
    assert value(engine, "SELECT refunded FROM purchase_starts") is None


def test_the_last_word_on_the_money_counts(engine: Engine, fake_provider: FakeProvider) -> None:
    order = taught(engine, fake_provider)
    decide(engine, order, "cancel", refund="none")
    decide(engine, order, "cancel", refund="full")
    assert undo(engine, fake_provider, order, AFTER_THREE) == REFUNDED


def test_undelivered_before_there_is_any_lesson_gives_everything_back(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]
) -> None:
    build.student(engine)
    build.pay(engine, fake_provider)
    order = build.start(engine)
    decide(engine, order, "cancel", refund="undelivered")
    assert PaymentActivities(engine, fake_provider, clock).refund_payment(order) == REFUNDED
    assert refunded(engine) == [("succeeded", 50_000)]


@pytest.mark.parametrize("choice", ["none", "undelivered"])
def test_a_payment_that_succeeded_late_goes_back_whole_whatever_was_decided_while_it_was_pending(
    engine: Engine, clock: Callable[[], datetime], choice: str
) -> None:
    class LateSuccess(FakeProvider):
        def cancel(self, payment_id: str) -> Any:
            self.set_status(payment_id, "succeeded")
            return super().cancel(payment_id)

    provider = LateSuccess()
    order = taught(engine, provider)
    provider.set_status("pay-1", "pending")
    decide(engine, order, "cancel", refund=choice)
    assert undo(engine, provider, order, AFTER_THREE) == REFUNDED
    assert refunded(engine) == [("succeeded", 50_000)]


@pytest.mark.parametrize("choice", ["none", "undelivered"])
def test_the_same_when_the_try_that_found_the_money_died_of_it(engine: Engine, choice: str) -> None:
    class LateSuccess(FakeProvider):
        def cancel(self, payment_id: str) -> Any:
            self.set_status(payment_id, "succeeded")
            raise ProviderTrouble("the answer is lost")

    provider = LateSuccess()
    order = taught(engine, provider)
    build.run(engine, "DELETE FROM purchase_steps WHERE step = 'confirm_payment'")
    build.run(engine, "UPDATE payments SET status = 'pending'")
    provider.set_status("pay-1", "pending")
    decide(engine, order, "cancel", refund=choice)
    with pytest.raises(ProviderTrouble):
        undo(engine, provider, order, AFTER_THREE)
    assert undo(engine, provider, order, AFTER_THREE) == REFUNDED
    assert refunded(engine) == [("succeeded", 50_000)]


def test_none_still_cancels_a_pending_payment(engine: Engine, fake_provider: FakeProvider, clock: Any) -> None:
    build.student(engine)
    build.pay(engine, fake_provider, status="pending")
    order = build.start(engine)
    decide(engine, order, "cancel", refund="none")
    assert PaymentActivities(engine, fake_provider, clock).refund_payment(order) == Undone(changed=False)
    assert fake_provider.payments["pay-1"].status == "failed"
