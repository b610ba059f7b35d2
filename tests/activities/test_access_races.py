"""Who gives and who ends access meet: whatever comes first, what stands in the end is of one mind (rows 57, 61; I6)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.access import AccessActivities
from activities.acts import ActActivities
from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from domain.access import Extension
from domain.acts import Decision
from domain.purchase import PurchaseOrder
from tests import build
from tests.gateways.in_memory import FakeProvider
from tests.invariants import violations_by

OVER = datetime(2026, 12, 6, tzinfo=UTC)  # midnight in London after the last day
LAST_DAY = "2026-12-05"
LATER = timedelta(hours=1)


class Shop:
    """Real activities on one database, each race with a student and a course of its own; `now` is everybody's clock."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor, rounds: int) -> None:
        self.engine, self.threads, self.rounds, self.now = engine, threads, rounds, build.NOW
        self.provider = FakeProvider()
        self.payments = PaymentActivities(engine, self.provider, lambda: self.now)
        self.purchases = PurchaseActivities(engine, lambda: self.now)
        self.enrollments = EnrollmentActivities(engine, lambda: self.now)
        self.access = AccessActivities(engine, lambda: self.now)
        self.acts = ActActivities(engine, lambda: self.now)

    def confirmed(self, number: int, payment: str = "a", **metadata: Any) -> PurchaseOrder:
        student, course = build.student(self.engine, f"student-{number}"), build.item(self.engine, f"course-{number}")
        said = {**build.LESSONS, "courseId": course, **metadata}
        name = f"pay-{number}-{payment}"
        build.pay(self.engine, self.provider, name, student_id=student, items=(("course", course),), metadata=said,
                  created_at=self.now)  # fmt: skip
        order = build.start(self.engine, name, student_id=student)
        self.payments.confirm_payment(order)
        return order

    def bought(self, number: int, payment: str = "a", *, enrolled: bool = True, **metadata: Any) -> PurchaseOrder:
        order = self.confirmed(number, payment, **metadata)
        self.purchases.create_purchase(order)
        if enrolled:
            self.enrollments.enroll(order)
        return order

    def take_back(self, order: PurchaseOrder) -> None:
        self.enrollments.unenroll(order)
        self.purchases.void_purchase(order)

    def at_once(self, *calls: Callable[[], Any]) -> None:
        """All of them, from one line; raises what one of them raised."""
        line = Barrier(len(calls))

        def one(call: Callable[[], Any]) -> None:
            line.wait(30)
            call()

        for done in [self.threads.submit(one, call) for call in calls]:
            done.result(30)

    def require_one_mind(self) -> None:
        assert [said for said in violations_by(self.engine, "[]") if said.startswith("I6")] == []
        lost = """SELECT older.id FROM student_course_purchases AS older
                  JOIN student_course_purchases AS newer ON newer.id = older.superseded_by
                  WHERE older.status = 'superseded' AND newer.status = 'voided'"""
        assert build.rows(self.engine, lost) == []


@pytest.fixture(params=[25, pytest.param(500, marks=pytest.mark.soak)])
def shop(engine: Engine, request: pytest.FixtureRequest) -> Generator[Shop]:
    with ThreadPoolExecutor(4) as threads:
        yield Shop(engine, threads, request.param)


def test_two_renewals_taken_back_at_once_give_the_first_purchase_back(shop: Shop) -> None:
    for number in range(shop.rounds):
        first, *renewals = (shop.bought(number, name) for name in _hours_apart(shop, "abc"))
        shop.at_once(*(lambda order=order: shop.take_back(order) for order in renewals))
        status = build.value(
            shop.engine, "SELECT status FROM student_course_purchases WHERE id = :id", id=first.purchase_id
        )
        assert status == "active", number
    shop.require_one_mind()


def test_a_renewal_that_comes_while_the_last_one_is_taken_back_finds_one_to_renew(shop: Shop) -> None:
    for number in range(shop.rounds):
        _, second = (shop.bought(number, name) for name in _hours_apart(shop, "ab"))
        shop.now += LATER
        third = shop.confirmed(number, "c")

        def renew(third: PurchaseOrder = third) -> None:
            while True:
                try:
                    shop.purchases.create_purchase(third)
                    return
                except Exception as err:
                    assert "one_active_purchase_per_item" in str(err), err  # noqa: PT017

        shop.at_once(renew, lambda second=second: shop.take_back(second))
        active = build.rows(
            shop.engine, "SELECT id FROM student_course_purchases WHERE student_id = :id AND status = 'active'",
            id=f"student-{number}",
        )  # fmt: skip
        assert active == [(third.purchase_id,)], number
    shop.require_one_mind()


def test_access_that_is_given_when_it_ends_has_an_end(shop: Shop) -> None:
    orders = [shop.bought(number, enrolled=False, expiryDate=LAST_DAY) for number in range(shop.rounds)]
    shop.now = OVER
    for order in orders:
        shop.at_once(
            lambda order=order: shop.enrollments.enroll(order), lambda order=order: shop.access.end_access(order)
        )
    open_ended = "SELECT count(*) FROM enrollments WHERE ended_at IS NULL"
    assert build.value(shop.engine, open_ended) == 0
    shop.require_one_mind()


@pytest.mark.parametrize("expired", [False, True], ids=["it lasts", "it had ended"])
@pytest.mark.parametrize("by", ["extend", "amend"])
def test_more_access_during_a_rollback_gives_none_back(shop: Shop, by: str, expired: bool) -> None:
    orders = [shop.bought(number, expiryDate=LAST_DAY) for number in range(shop.rounds)]
    if expired:
        shop.now = OVER
        for order in orders:
            shop.access.end_access(order)
    for order in orders:

        def more(order: PurchaseOrder = order) -> None:
            if by == "extend":
                shop.access.extend_access(Extension(order, "k", "ann", "ill", "2027-06-30"))
                return
            try:
                shop.acts.decide(Decision(order, "k", "amend", "ann", "ill", {"expiryDate": "2027-06-30"}))
            except Exception as err:
                assert "being taken back" in str(err), err  # noqa: PT017

        shop.at_once(more, lambda order=order: shop.take_back(order))
    assert build.value(shop.engine, "SELECT count(*) FROM enrollments WHERE ended_at IS NULL") == 0
    shop.require_one_mind()


def _hours_apart(shop: Shop, names: str) -> Generator[str]:
    for name in names:
        shop.now += LATER
        yield name
