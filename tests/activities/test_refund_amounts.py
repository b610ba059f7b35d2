"""A refund compares amounts: what is owed, what the provider has given back by whomever, what is still due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from activities.payment import PaymentActivities
from domain.ids import refund_id_of
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from gateways.payments import ProviderRefund, ProviderRefused, ProviderTrouble
from tests import build
from tests.activities.deciding import decide
from tests.activities.test_refund_choices import AFTER_THREE, taught, undo
from tests.build import rows, run, value
from tests.gateways.in_memory import FakeProvider

KEPT = Undone(changed=True, refunded=False)
NOTHING = Undone(changed=False, refunded=False)
REFUNDED = Undone(changed=True, refunded=True)
TIMEOUT = ProviderTrouble("timed out")


@pytest.fixture
def paid(engine: Engine, fake_provider: FakeProvider) -> PurchaseOrder:
    """A started line of 30,000, paid."""
    build.student(engine)
    build.pay(engine, fake_provider, amount_minor=30_000)
    return build.start(engine)


@pytest.fixture
def payments(engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]) -> PaymentActivities:
    return PaymentActivities(engine, fake_provider, clock)


def tries(engine: Engine, payment: str = "pay-1") -> list[Any]:
    query = "SELECT id, status, amount_minor FROM refunds WHERE payment_id = :id ORDER BY number"
    return rows(engine, query, id=payment)


def given_back(provider: FakeProvider, payment: str = "pay-1") -> int:
    return provider.payments[payment].lines[0].refunded_minor


def test_what_was_given_back_by_hand_is_not_given_twice_and_the_rest_goes_back(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    payments.confirm_payment(paid)
    fake_provider.by_hand(3_000)
    decide(engine, paid, "cancel", refund="full")
    assert payments.refund_payment(paid) == REFUNDED
    assert tries(engine) == [("refund:pay-1:1", "succeeded", 27_000)]
    assert given_back(fake_provider) == 30_000
    assert value(engine, "SELECT status FROM payments") == "refunded"
    assert value(engine, "SELECT refunded FROM purchase_starts") is True
    assert value(engine, "SELECT given_back_minor FROM payment_lines") == 30_000


def test_a_line_given_back_in_part_before_counts_as_paid_and_staff_are_warned(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.by_hand(500)
    payments.confirm_payment(paid)
    kept = value(engine, "SELECT result FROM purchase_steps WHERE step = 'confirm_payment'")
    assert [said for said in kept["warnings"] if "5.00 USD of this line's 300.00 USD" in said]
    assert value(engine, "SELECT given_back_minor FROM payment_lines") == 500
    assert payments.refund_payment(paid) == REFUNDED
    assert tries(engine) == [("refund:pay-1:1", "succeeded", 29_500)]


def test_a_line_given_back_whole_before_does_not_count_as_paid(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.by_hand(30_000)
    with pytest.raises(Refused) as refused:
        payments.confirm_payment(paid)
    assert refused.value.code == "PAYMENT_NOT_SUCCEEDED"
    assert payments.refund_payment(paid) == NOTHING


def test_a_refused_refund_is_not_ours_whatever_is_given_back_by_hand(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.fail("refund", ProviderRefused("payment_not_succeeded", "not now"))
    with pytest.raises(Refused):
        payments.refund_payment(paid)
    fake_provider.by_hand(1)
    assert payments.refund_payment(paid) == REFUNDED
    assert tries(engine) == [("refund:pay-1:1", "failed", 30_000), ("refund:pay-1:1:2", "succeeded", 29_999)]
    assert given_back(fake_provider) == 30_000


def test_all_given_back_by_hand_after_a_refusal_is_settled_and_nothing_of_it_is_ours(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.fail("refund", ProviderRefused("payment_not_succeeded", "not now"))
    with pytest.raises(Refused):
        payments.refund_payment(paid)
    fake_provider.by_hand(30_000)
    for _ in range(2):
        assert payments.refund_payment(paid) == NOTHING
    assert tries(engine) == [("refund:pay-1:1", "failed", 30_000)]
    assert value(engine, "SELECT refunded FROM purchase_starts") is None


@pytest.mark.parametrize("by_hand", [1, 3_000, 29_999])
def test_a_hand_between_our_look_and_our_ask_makes_it_less(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder,
    clock: Callable[[], datetime], by_hand: int,
) -> None:  # fmt: skip
    class Raced(FakeProvider):
        def refund(self, *asked: Any) -> ProviderRefund:
            if "refund" not in self.calls:
                self.by_hand(by_hand)
            return super().refund(*asked)

    raced = Raced(payments=fake_provider.payments)
    assert PaymentActivities(engine, raced, clock).refund_payment(paid) == REFUNDED
    assert tries(engine) == [
        ("refund:pay-1:1", "failed", 30_000),
        ("refund:pay-1:1:2", "succeeded", 30_000 - by_hand),
    ]


def test_too_much_without_any_hand_is_a_refusal(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.fail("refund", ProviderRefused("amount_too_large", "more than is left"))
    with pytest.raises(Refused) as refused:
        payments.refund_payment(paid)
    assert refused.value.code == "REFUND_FAILED"
    assert payments.refund_payment(paid) == REFUNDED


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_a_payment_that_is_called_unpaid_after_a_refusal_is_no_sign_of_a_hand(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime], paid: PurchaseOrder, status: str
) -> None:
    class Lagging(FakeProvider):
        def get(self, payment_id: str) -> Any:
            found = super().get(payment_id)
            return replace(found, status=status) if found and self.calls.count("get") == 2 else found

    lagging = Lagging(payments=fake_provider.payments)
    lagging.fail("refund", ProviderRefused("amount_too_large", "more than is left"))
    payments = PaymentActivities(engine, lagging, clock)
    with pytest.raises(Refused):
        payments.refund_payment(paid)
    assert payments.refund_payment(paid) == REFUNDED
    assert given_back(lagging) == 30_000


@pytest.mark.parametrize("by_hand", [2_000, 18_900, 27_000])
def test_a_lost_ask_is_looked_up_and_a_hand_since_makes_it_less(
    engine: Engine, fake_provider: FakeProvider, by_hand: int
) -> None:
    order = taught(engine, fake_provider, 30_000)
    fake_provider.by_hand(3_000)
    decide(engine, order, "cancel", refund="undelivered")
    fake_provider.fail("refund", TIMEOUT)
    with pytest.raises(ProviderTrouble):
        undo(engine, fake_provider, order, AFTER_THREE)
    assert tries(engine) == [("refund:pay-1:1", "requested", 18_900)], "7 of 10 lessons, of the 27,000 still held"
    fake_provider.by_hand(by_hand)
    left = 18_900 - by_hand
    assert undo(engine, fake_provider, order, AFTER_THREE).refunded is (left > 0)
    second = [("refund:pay-1:1:2", "succeeded", left)] if left > 0 else []
    assert tries(engine) == [("refund:pay-1:1", "failed", 18_900), *second]
    assert given_back(fake_provider) == 3_000 + max(18_900, by_hand)


@pytest.mark.parametrize("by_hand", [0, 1, 3_000])
def test_a_lost_answer_is_ours_whatever_a_hand_gave_since(
    engine: Engine, fake_provider: FakeProvider, by_hand: int
) -> None:
    order = taught(engine, fake_provider, 30_000)
    decide(engine, order, "cancel", refund="undelivered")
    fake_provider.lose_the_answer(TIMEOUT)
    with pytest.raises(ProviderTrouble):
        undo(engine, fake_provider, order, AFTER_THREE)
    if by_hand:
        fake_provider.by_hand(by_hand)
    assert undo(engine, fake_provider, order, AFTER_THREE) == REFUNDED
    assert tries(engine) == [("refund:pay-1:1", "succeeded", 21_000)]
    assert given_back(fake_provider) == 21_000 + by_hand


@pytest.mark.parametrize(("status", "row"), [("pending", "requested"), ("failed", "failed")])
def test_a_refund_that_has_not_come_is_not_shown_as_given(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder, status: str, row: str
) -> None:
    fake_provider.refunds["refund:pay-1:1"] = ProviderRefund("re_9", "pay-1", 1, 30_000, "USD", status)
    with pytest.raises((Refused, ProviderTrouble)):
        payments.refund_payment(paid)
    assert tries(engine) == [("refund:pay-1:1", row, 30_000)]
    assert value(engine, "SELECT refunded FROM purchase_starts") is None
    if status == "pending":
        fake_provider.refunds["refund:pay-1:1"] = ProviderRefund("re_9", "pay-1", 1, 30_000, "USD", "succeeded")
    assert payments.refund_payment(paid) == REFUNDED
    assert tries(engine)[-1][1] == "succeeded"


def test_an_answer_in_another_currency_settles_nothing(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.refunds["refund:pay-1:1"] = ProviderRefund("re_9", "pay-1", 1, 30_000, "EUR", "succeeded")
    with pytest.raises(ProviderTrouble):
        payments.refund_payment(paid)
    assert tries(engine) == [("refund:pay-1:1", "requested", 30_000)]


def test_none_keeps_what_is_held_after_a_goodwill_refund(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.by_hand(500)
    decide(engine, paid, "cancel", refund="none")
    assert payments.refund_payment(paid) == KEPT
    assert given_back(fake_provider) == 500


# -- contradictions of what was confirmed ---------------------------------------------------------------------------


def test_a_confirmed_line_that_is_unknown_now_is_trouble_and_never_nothing(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    payments.confirm_payment(paid)
    known = fake_provider.payments.pop("pay-1")
    for _ in range(2):
        with pytest.raises(Exception, match="does not know it"):
            payments.refund_payment(paid)
    fake_provider.payments["pay-1"] = known
    assert payments.refund_payment(paid) == REFUNDED


@pytest.mark.parametrize("change", [{"status": "failed"}, {"student_id": "student-2"}, {"lines": ()}])
def test_a_confirmed_line_that_was_never_paid_now_is_trouble(
    engine: Engine,
    fake_provider: FakeProvider,
    payments: PaymentActivities,
    paid: PurchaseOrder,
    change: dict[str, Any],
) -> None:
    payments.confirm_payment(paid)
    fake_provider.payments["pay-1"] = replace(fake_provider.payments["pay-1"], **change)
    with pytest.raises(Exception, match="it was paid"):
        payments.refund_payment(paid)
    assert not fake_provider.refunds


def test_a_line_that_our_row_says_was_paid_and_nobody_knows_is_trouble_although_confirm_was_refused(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    fake_provider.payments.clear()
    with pytest.raises(Refused):
        payments.confirm_payment(paid)
    with pytest.raises(Exception, match="it was paid"):
        payments.refund_payment(paid)


def test_a_payment_that_cannot_be_cancelled_is_not_called_over(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime], paid: PurchaseOrder
) -> None:
    class Stubborn(FakeProvider):
        def cancel(self, payment_id: str) -> Any:
            return self.payments[payment_id]

    stubborn = Stubborn(payments=fake_provider.payments)
    stubborn.set_status("pay-1", "pending")
    with pytest.raises(ProviderTrouble):
        PaymentActivities(engine, stubborn, clock).refund_payment(paid)


# -- given back past the provider -----------------------------------------------------------------------------------


def settle(engine: Engine, order: PurchaseOrder) -> None:
    run(
        engine,
        "INSERT INTO operator_decisions VALUES (:id, 'k', 1, 'settle_refund', '{}', 'ann', 'by bank', now())",
        id=order.purchase_id,
    )


@pytest.mark.parametrize("before", ["nothing", "refused", "lost", "by hand"])
def test_a_refund_settled_outside_ends_without_the_provider(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder, before: str
) -> None:
    payments.confirm_payment(paid)
    if before == "by hand":
        fake_provider.by_hand(500)
    if before != "nothing":
        trouble = ProviderRefused("payment_not_succeeded", "no") if before == "refused" else TIMEOUT
        fake_provider.fail("refund", trouble)
        with pytest.raises((Refused, ProviderTrouble)):
            payments.refund_payment(paid)
    settle(engine, paid)
    fake_provider.calls.clear()
    for _ in range(2):
        assert payments.refund_payment(paid) == REFUNDED
    assert fake_provider.calls == []
    amount = 29_500 if before == "by hand" else 30_000
    assert [each for each in tries(engine) if each[1] != "failed"] == [
        (f"refund:pay-1:1{':2' if before == 'refused' else ''}", "settled_outside", amount)
    ]
    assert value(engine, "SELECT refunded FROM purchase_starts") is True
    said = "partially_refunded" if before == "by hand" else "succeeded"
    assert value(engine, "SELECT status FROM payments") == said, "what the provider gave back, no more"


def test_a_refund_that_succeeded_stays_so_whoever_says_otherwise(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    payments.refund_payment(paid)
    settle(engine, paid)
    assert payments.refund_payment(paid) == REFUNDED
    assert tries(engine) == [("refund:pay-1:1", "succeeded", 30_000)]


NO = ProviderRefused("payment_not_succeeded", "not now")


@pytest.mark.parametrize("by_hand", [1_000, 10_000, 21_000])
def test_what_is_owed_is_said_once_and_a_hand_after_a_refusal_counts(
    engine: Engine, fake_provider: FakeProvider, by_hand: int
) -> None:
    order = taught(engine, fake_provider, 30_000)
    decide(engine, order, "cancel", refund="undelivered")
    fake_provider.fail("refund", NO)
    with pytest.raises(Refused):
        undo(engine, fake_provider, order, AFTER_THREE)
    fake_provider.by_hand(by_hand)
    undo(engine, fake_provider, order, AFTER_THREE)
    assert given_back(fake_provider) == 21_000


def test_what_is_settled_outside_is_what_was_still_owed(engine: Engine, fake_provider: FakeProvider) -> None:
    order = taught(engine, fake_provider, 30_000)
    decide(engine, order, "cancel", refund="undelivered")
    for by_hand in (5_000, 0):
        fake_provider.fail("refund", NO)
        with pytest.raises(Refused):
            undo(engine, fake_provider, order, AFTER_THREE)
        if by_hand:
            fake_provider.by_hand(by_hand)
    settle(engine, order)
    assert undo(engine, fake_provider, order, AFTER_THREE) == REFUNDED
    assert tries(engine)[-1][1:] == ("settled_outside", 16_000)


@pytest.mark.parametrize("change", [{"currency": "JPY"}, {"amount": 0}, {"amount": 1}, {"amount": 300_000}], ids=str)
def test_another_amount_or_currency_than_was_sold_is_trouble_at_both_ends(
    engine: Engine,
    fake_provider: FakeProvider,
    payments: PaymentActivities,
    paid: PurchaseOrder,
    change: dict[str, Any],
) -> None:
    right = fake_provider.payments["pay-1"]
    amount = change.get("amount", 30_000)
    wrong = replace(
        right, amount_minor=amount, lines=(build.ProviderLine(1, amount),), currency=change.get("currency", "USD")
    )
    fake_provider.payments["pay-1"] = wrong
    with pytest.raises(ProviderTrouble, match="another amount or currency"):
        payments.confirm_payment(paid)
    fake_provider.payments["pay-1"] = right
    payments.confirm_payment(paid)
    fake_provider.payments["pay-1"] = wrong
    for _ in range(2):
        with pytest.raises(Exception, match="another amount or currency"):
            payments.refund_payment(paid)
    assert tries(engine) == []
    fake_provider.payments["pay-1"] = right
    assert payments.refund_payment(paid) == REFUNDED
    assert tries(engine) == [("refund:pay-1:1", "succeeded", 30_000)]


@pytest.mark.parametrize("choice", ["none", "undelivered", "full"])
def test_a_confirmed_payment_that_is_pending_now_is_trouble_and_not_cancelled(
    engine: Engine, fake_provider: FakeProvider, choice: str
) -> None:
    order = taught(engine, fake_provider, 30_000)
    PaymentActivities(engine, fake_provider, lambda: build.NOW).confirm_payment(order)
    decide(engine, order, "cancel", refund=choice)
    fake_provider.set_status("pay-1", "pending")
    with pytest.raises(Exception, match="it was paid"):
        undo(engine, fake_provider, order, AFTER_THREE)
    assert "cancel" not in fake_provider.calls
    fake_provider.set_status("pay-1", "succeeded")
    undo(engine, fake_provider, order, AFTER_THREE)
    assert given_back(fake_provider) == {"none": 0, "undelivered": 21_000, "full": 30_000}[choice]


@pytest.mark.parametrize("then", ["refused", "settled by a door", "settled outside"])
def test_money_that_came_late_goes_back_whole_whatever_comes_between(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime], then: str
) -> None:
    class PaysMeanwhile(FakeProvider):
        def cancel(self, payment_id: str) -> Any:
            self.set_status(payment_id, "succeeded")
            return super().cancel(payment_id)

    build.student(engine)
    build.pay(engine, fake_provider, amount_minor=30_000, status="pending")
    order = build.start(engine)
    decide(engine, order, "cancel", refund="none")
    late = PaysMeanwhile(payments=fake_provider.payments)
    payments = PaymentActivities(engine, late, clock)
    late.fail(*(("get", TIMEOUT) if then == "settled by a door" else ("refund", NO)))
    with pytest.raises((Refused, ProviderTrouble)):
        payments.refund_payment(order)
    if then == "settled by a door":
        late.set_status("pay-1", "succeeded")
        run(engine, "UPDATE payments SET status = 'succeeded'")
    if then == "settled outside":
        settle(engine, order)
    assert payments.refund_payment(order) == REFUNDED
    status = "settled_outside" if then == "settled outside" else "succeeded"
    assert tries(engine)[-1][1:] == (status, 30_000)


def test_the_row_of_the_payment_follows_what_hands_gave_back(
    engine: Engine, fake_provider: FakeProvider, payments: PaymentActivities, paid: PurchaseOrder
) -> None:
    payments.confirm_payment(paid)
    fake_provider.by_hand(30_000)
    assert payments.refund_payment(paid) == NOTHING
    assert value(engine, "SELECT status FROM payments") == "refunded"


# -- any order of things --------------------------------------------------------------------------------------------

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
numbers = st.integers(1, 2**31 - 1)


@given(st.lists(st.tuples(ids, numbers, numbers), min_size=2, max_size=2, unique=True))
def test_no_two_tries_share_an_id_and_none_is_too_long(of: list[tuple[str, int, int]]) -> None:
    made = [refund_id_of(payment, line, number) for payment, line, number in of]
    assert len(set(made)) == 2
    assert max(map(len, made)) <= 255


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("hand"), st.integers(1, 20_000)),
        st.tuples(st.sampled_from(["refuse", "lose", "lose the answer", "too large", "look fails"]), st.just(0)),
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happenings=HAPPENINGS, data=st.data())
def test_whatever_happens_the_provider_has_given_all_back_in_the_end_and_our_rows_say_what_we_gave(
    engine: Engine, clock: Callable[[], datetime], happenings: list[tuple[str, int]], data: st.DataObject
) -> None:
    payment = f"pay-{uuid4().hex}"
    provider = FakeProvider()
    build.student(engine, f"student-{payment}")
    build.pay(engine, provider, payment, student_id=f"student-{payment}", amount_minor=30_000)
    order = build.start(engine, payment, student_id=f"student-{payment}")
    payments = PaymentActivities(engine, provider, clock)
    if data.draw(st.booleans(), label="confirmed"):
        payments.confirm_payment(order)
    by_hand = 0
    for what, amount in happenings:
        match what:
            case "hand":
                amount = min(amount, 30_000 - given_back(provider, payment))
                if amount:
                    provider.by_hand(amount, payment)
                by_hand += amount
                continue
            case "refuse":
                provider.fail("refund", ProviderRefused("payment_not_succeeded", "no"))
            case "too large":
                provider.fail("refund", ProviderRefused("amount_too_large", "no"))
            case "lose":
                provider.fail("refund", TIMEOUT)
            case "lose the answer":
                provider.lose_the_answer(TIMEOUT)
            case _:
                provider.fail("get", TIMEOUT)
        try:
            payments.refund_payment(order)
        except (Refused, ProviderTrouble):
            continue
    provider._before.clear()
    provider._after.clear()
    last = payments.refund_payment(order)
    assert given_back(provider, payment) == 30_000
    ours = sum(refund.amount_minor for refund in provider.refunds.values())
    assert ours == 30_000 - by_hand
    assert sum(amount for _, status, amount in tries(engine, payment) if status == "succeeded") == ours
    assert last.refunded is (ours > 0)
    assert (value(engine, "SELECT refunded FROM purchase_starts WHERE payment_id = :id", id=payment) is True) is (
        ours > 0
    )
