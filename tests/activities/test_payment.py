"""confirm_payment asks the provider what is true; refund_payment gives back what was taken, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.payment import PaymentActivities
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from gateways.payments import ProviderRefused, ProviderTrouble
from tests import build
from tests.build import LESSONS
from tests.gateways.in_memory import FakeProvider

STATUSES = ("pending", "succeeded", "failed", "refunded", "partially_refunded")
NOTHING = Undone(changed=False, refunded=False)
REFUNDED = Undone(changed=True, refunded=True)


@pytest.fixture
def payments(engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]) -> PaymentActivities:
    build.student(engine)
    build.student(engine, "student-2")
    return PaymentActivities(engine, fake_provider, clock)


def refusal_of(payments: PaymentActivities, order: PurchaseOrder) -> str:
    with pytest.raises(Refused) as refused:
        payments.confirm_payment(order)
    return refused.value.code


def settled(engine: Engine) -> dict[str, Any]:
    return build.value(engine, "SELECT result FROM purchase_steps WHERE step = 'confirm_payment'")


@pytest.mark.parametrize(
    ("status", "code"),
    [("pending", "PAYMENT_PENDING"), ("failed", "PAYMENT_NOT_SUCCEEDED"), ("refunded", "PAYMENT_NOT_SUCCEEDED")],
)
def test_refuses_a_payment_that_is_not_paid(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, status: str, code: str
) -> None:
    build.pay(engine, fake_provider, status=status)
    assert refusal_of(payments, build.start(engine)) == code


def test_believes_the_provider_and_not_our_copy_of_the_status(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, status="pending")
    fake_provider.set_status("pay-1", "succeeded")
    payments.confirm_payment(build.start(engine))
    assert build.value(engine, "SELECT status FROM payments") == "pending"  # it only reads (mission row 68)


def test_refuses_a_payment_nobody_knows(engine: Engine, payments: PaymentActivities) -> None:
    assert refusal_of(payments, build.start(engine)) == "PAYMENT_NOT_FOUND"


def test_refuses_a_payment_the_provider_does_not_know(engine: Engine, payments: PaymentActivities) -> None:
    build.pay(engine)
    assert refusal_of(payments, build.start(engine)) == "PAYMENT_NOT_FOUND"


def test_refuses_a_line_the_payment_does_not_have(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    assert refusal_of(payments, build.start(engine, line=2)) == "PAYMENT_NOT_FOUND"


@pytest.mark.parametrize("status", STATUSES)
def test_refuses_another_students_payment_whatever_its_status(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, status: str
) -> None:
    build.pay(engine, fake_provider, status=status)
    assert refusal_of(payments, build.start(engine, student_id="student-2")) == "PAYMENT_OWNER_MISMATCH"


def test_refuses_when_only_the_provider_says_it_is_another_students(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    fake_provider.payments["pay-1"] = replace(fake_provider.payments["pay-1"], student_id="student-2")
    order = build.start(engine)
    assert refusal_of(payments, order) == "PAYMENT_OWNER_MISMATCH"
    assert payments.refund_payment(order) == NOTHING


def test_one_refunded_line_does_not_harm_its_neighbour(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, items=(("course", "course-piano"), ("course", "course-chess")))
    first, second = build.start(engine, line=1), build.start(engine, line=2)
    assert payments.refund_payment(first) == REFUNDED
    assert payments.confirm_payment(second).session_count == 10
    assert build.value(engine, "SELECT status FROM payments") == "partially_refunded"
    assert refusal_of(payments, replace(first, attempt=2)) == "PAYMENT_NOT_SUCCEEDED"
    assert payments.refund_payment(second) == REFUNDED
    assert build.value(engine, "SELECT status FROM payments") == "refunded"


def test_settles_metadata_count_and_first_day_once_for_all(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, metadata={**LESSONS, "groupSize": None, "campaign": "c-8"})
    order = build.start(engine, event_metadata={"groupSize": 2, "purchaseTier": 30})
    confirmed = payments.confirm_payment(order)
    assert (confirmed.session_count, confirmed.session_count_source) == (10, "purchaseTier")
    kept = settled(engine)
    assert kept["fields"]["timeSlot"] == "18:00"
    assert kept["fields"]["groupSize"] == 2  # null never overrides (mission row 22)
    assert (kept["sources"]["groupSize"], kept["sources"]["timeSlot"]) == ("event", "payment")
    assert kept["extras"]["campaign"] == "c-8"
    assert kept["seriesStart"] == "2026-12-01"

    build.run(engine, "UPDATE payment_lines SET metadata = '{\"purchaseTier\": 20}'")
    assert payments.confirm_payment(order) == confirmed
    assert fake_provider.calls == ["get"]


def test_a_defaulted_count_and_a_passed_start_leave_warnings(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, metadata={**LESSONS, "purchaseTier": 15, "startDate": "2026-11-02"})
    confirmed = payments.confirm_payment(build.start(engine))
    assert (confirmed.session_count, confirmed.session_count_source) == (30, "default")
    kept = settled(engine)
    assert kept["seriesStart"] == "2026-11-22"
    assert len(kept["warnings"]) == 2


@pytest.mark.parametrize("timezone", [None, "Mars/Olympus"])
def test_leaves_the_first_day_open_without_a_usable_profile(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, timezone: str | None
) -> None:
    build.run(engine, "UPDATE students SET timezone = :zone", zone=timezone)
    build.pay(engine, fake_provider)
    payments.confirm_payment(build.start(engine))
    assert settled(engine)["seriesStart"] is None


def test_leaves_the_first_day_open_when_the_schedule_is_missing(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, metadata={"purchaseTier": 20})
    assert payments.confirm_payment(build.start(engine)).session_count == 20
    assert settled(engine)["seriesStart"] is None


def test_steps_over_holidays_to_the_first_day(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.run(engine, "INSERT INTO holidays VALUES ('2026-11-22')")
    build.pay(engine, fake_provider, metadata={**LESSONS, "startDate": "2026-11-02"})
    payments.confirm_payment(build.start(engine))
    assert settled(engine)["seriesStart"] == "2026-11-23"


def test_a_provider_in_trouble_is_trouble_and_settles_nothing(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    order = build.start(engine)
    fake_provider.fail("get", ProviderTrouble("timed out"))
    with pytest.raises(ProviderTrouble):
        payments.confirm_payment(order)
    assert settled(engine) is None
    assert payments.confirm_payment(order).session_count == 10


def test_gives_the_money_back_although_confirm_never_finished(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    order = build.start(engine)
    assert payments.refund_payment(order) == REFUNDED
    assert [refund.amount_minor for refund in fake_provider.refunds.values()] == [50000]
    assert build.rows(engine, "SELECT id, status, amount_minor, currency, provider_id FROM refunds") == [
        ("refund:pay-1:1", "succeeded", 50000, "USD", "re_1")
    ]
    assert build.value(engine, "SELECT refunded FROM purchase_starts") is True
    assert build.value(engine, "SELECT status FROM payments") == "refunded"
    assert refusal_of(payments, order) == "ALREADY_MADE_WHOLE"


@pytest.mark.parametrize("status", ["failed", "pending", "refunded"])
def test_gives_nothing_back_where_nothing_is_held(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, status: str
) -> None:
    build.pay(engine, fake_provider, status=status)
    assert payments.refund_payment(build.start(engine)) == NOTHING
    assert not fake_provider.refunds
    assert build.value(engine, "SELECT refunded FROM purchase_starts") is None


def test_never_gives_another_students_money_back(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    assert payments.refund_payment(build.start(engine, student_id="student-2")) == NOTHING
    assert not fake_provider.refunds


def test_gives_nothing_back_of_a_payment_nobody_knows(engine: Engine, payments: PaymentActivities) -> None:
    assert payments.refund_payment(build.start(engine)) == NOTHING


def test_gives_nothing_back_of_a_line_that_cost_nothing(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, amount_minor=0)
    assert payments.refund_payment(build.start(engine)) == NOTHING


def test_cancels_a_pending_payment_at_the_provider(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, status="pending")
    payments.refund_payment(build.start(engine))
    assert fake_provider.payments["pay-1"].status == "failed"
    assert build.value(engine, "SELECT status FROM payments") == "failed"


def test_gives_back_a_payment_that_succeeded_while_it_was_being_cancelled(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime], payments: PaymentActivities
) -> None:
    class LateSuccess(FakeProvider):
        def cancel(self, payment_id: str) -> Any:
            self.set_status(payment_id, "succeeded")
            return super().cancel(payment_id)

    late = LateSuccess()
    build.pay(engine, late, status="pending")
    assert PaymentActivities(engine, late, clock).refund_payment(build.start(engine)) == REFUNDED


def test_leaves_alone_a_line_that_somebody_else_has_given_back(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider, items=(("course", "course-piano"), ("course", "course-chess")))
    fake_provider.refund("by hand", "pay-1", 1, 50000)
    assert payments.refund_payment(build.start(engine, line=1)) == NOTHING
    assert list(fake_provider.refunds) == ["by hand"]


@pytest.mark.parametrize("happened", [False, True], ids=["lost before the provider", "done but the answer lost"])
def test_a_lost_answer_is_looked_up_and_never_refunded_twice(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, happened: bool
) -> None:
    build.pay(engine, fake_provider, items=(("course", "course-piano"), ("course", "course-chess")))
    order = build.start(engine)
    timeout = ProviderTrouble("timed out")
    fake_provider.lose_the_answer(timeout) if happened else fake_provider.fail("refund", timeout)
    with pytest.raises(ProviderTrouble):
        payments.refund_payment(order)
    assert build.rows(engine, "SELECT id, status FROM refunds") == [("refund:pay-1:1", "requested")]
    assert payments.refund_payment(order) == REFUNDED
    assert list(fake_provider.refunds) == ["refund:pay-1:1"]
    assert build.value(engine, "SELECT status FROM refunds") == "succeeded"


def test_a_refund_the_provider_refuses_never_shows_as_refunded_and_may_be_tried_again(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    order = build.start(engine)

    fake_provider.fail("refund", ProviderRefused("frozen", "the account is frozen"))
    with pytest.raises(Refused) as refused:
        payments.refund_payment(order)
    assert refused.value.code == "REFUND_FAILED"
    assert build.value(engine, "SELECT status FROM refunds") == "failed"
    assert build.value(engine, "SELECT refunded FROM purchase_starts") is None
    assert payments.refund_payment(order) == REFUNDED


def test_a_repeated_refund_asks_the_provider_no_more(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities
) -> None:
    build.pay(engine, fake_provider)
    order = build.start(engine)
    payments.refund_payment(order)
    fake_provider.calls.clear()
    assert payments.refund_payment(order) == REFUNDED
    assert fake_provider.calls == []


def test_a_try_that_runs_beside_a_quicker_one_answers_the_same(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, clock: Callable[[], datetime]
) -> None:
    build.pay(engine, fake_provider)
    order = build.start(engine)

    class Overtaken(FakeProvider):
        def get(self, payment_id: str) -> Any:
            payments.refund_payment(order)
            return fake_provider.get(payment_id)

    assert PaymentActivities(engine, Overtaken(), clock).refund_payment(order) == REFUNDED
    assert list(fake_provider.refunds) == ["refund:pay-1:1"]
