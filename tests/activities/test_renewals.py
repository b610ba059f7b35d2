"""Purchases of one course over time: lessons carried, access by any of them, history kept (rows 61, 71, 76, C4, C16; I6).

Every purchase here goes through the steps of the saga, and back through their undos.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest_asyncio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.access import AccessActivities
from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from db.engine import make_async_engine
from db.grants import API
from db.reads.access import access_of, renewals_of
from db.reads.purchase_list import Wanted, page_of_purchases
from db.reads.purchases import remaining_of
from domain.access import Extension
from domain.purchase import PurchaseOrder
from tests import build
from tests.build import LESSONS
from tests.gateways.in_memory import FakeProvider
from tests.invariants import violations_by
from tests.roles import as_role

SOLD = datetime(2026, 11, 21, 10, tzinfo=UTC)


class School:
    """One student, one course, one trainer; `buy` does all steps of a purchase, `refund` all undos."""

    def __init__(self, engine: Engine, pool: AsyncEngine) -> None:
        self.engine, self.pool, self.now = engine, pool, SOLD
        self.provider = FakeProvider()
        self.payments = PaymentActivities(engine, self.provider, lambda: self.now)
        self.purchases = PurchaseActivities(engine, lambda: self.now)
        self.enrollments = EnrollmentActivities(engine, lambda: self.now)
        self.trainers = TrainerActivities(engine, lambda: self.now)
        self.sessions = SessionActivities(engine, lambda: self.now)
        self.access = AccessActivities(engine, lambda: self.now)
        build.student(engine)
        build.item(engine)
        build.trainer(engine)

    def buy(
        self, payment_id: str, *, lessons: bool = True, student_id: str = "student-1", **metadata: Any
    ) -> PurchaseOrder:
        said = {**LESSONS, **metadata}
        build.pay(self.engine, self.provider, payment_id, metadata=said, created_at=self.now, student_id=student_id)
        order = build.start(self.engine, payment_id, student_id=student_id)
        self.payments.confirm_payment(order)
        self.purchases.create_purchase(order)
        self.enrollments.enroll(order)
        if lessons:
            self._plan(order)
        return order

    def _plan(self, order: PurchaseOrder) -> None:
        self.trainers.assign_trainer(order)
        self.trainers.approve_allocation(order)
        self.sessions.create_sessions(order)

    def refund(self, order: PurchaseOrder) -> None:
        self.sessions.cancel_sessions(order)
        self.trainers.cancel_allocation(order)
        self.trainers.release_trainer(order)
        self.enrollments.unenroll(order)
        self.purchases.void_purchase(order)
        self.payments.refund_payment(order)

    def pair(self, student_id: str, *states: str) -> list[PurchaseOrder]:
        """Purchases of the course by one student, an hour apart, left in these states at LOOKED_AT."""
        build.student(self.engine, student_id)
        orders: list[PurchaseOrder] = []
        for number, state in enumerate(states):
            self.now = SOLD + timedelta(hours=number)
            until = {"expiryDate": UNTIL[state]} if state in UNTIL else {}
            orders.append(self.buy(f"{student_id}-{number}", lessons=False, student_id=student_id, **until))
        self.now = LOOKED_AT
        for order, state in zip(orders, states, strict=True):
            if state == "refunded":
                self.refund(order)
            if state != "timer late":
                self.access.end_access(order)
        return orders

    async def remaining(self, *orders: PurchaseOrder) -> list[int]:
        """As shown, and as listed; both must agree."""
        async with self.pool.connect() as conn:
            shown = [await remaining_of(conn, order.purchase_id, self.now) for order in orders]
            listed = await page_of_purchases(conn, Wanted(), None, 100, self.now)
        by_id = {row.purchase_id: row.remaining for row in listed}
        assert [by_id[order.purchase_id] for order in orders] == shown
        return shown

    async def enrolled(self, order: PurchaseOrder) -> bool | None:
        async with self.pool.connect() as conn:
            access = await access_of(conn, order.purchase_id, self.now)
        assert access
        return access.enrolled

    async def lessons_after(self, order: PurchaseOrder) -> list[int]:
        async with self.pool.connect() as conn:
            access = await access_of(conn, order.purchase_id, self.now)
        assert access
        return access.lessons_after

    async def chain(self, order: PurchaseOrder) -> list[tuple[str, str, int]]:
        async with self.pool.connect() as conn:
            found = await renewals_of(conn, order.purchase_id, self.now)
        return [(each.workflow_id, each.status, each.remaining) for each in found]


@pytest_asyncio.fixture(loop_scope="session")
async def school(engine: Engine, database_url: str) -> AsyncIterator[School]:
    pool = make_async_engine(as_role(API, database_url), pool_size=2)
    yield School(engine, pool)
    await pool.dispose()


LAST_WEEK = datetime(2026, 12, 7, 12, tzinfo=UTC)  # of 1 to 10 December at 18:00 four are to come


async def test_a_renewal_in_the_last_week_carries_what_is_left_and_has_its_own_number(school: School) -> None:
    old = school.buy("pay-1")
    school.now = LAST_WEEK
    assert await school.remaining(old) == [4]
    new = school.buy("pay-2", startDate="2026-12-11", purchaseTier=20)
    assert await school.remaining(old, new) == [4, 24]
    assert await school.chain(new) == [("purchase:pay-1:1", "superseded", 4), ("purchase:pay-2:1", "active", 20)]
    assert await school.chain(old) == await school.chain(new)
    counts = build.rows(school.engine, "SELECT session_count FROM student_course_purchases ORDER BY purchased_at")
    assert counts == [(10,), (20,)]  # each its own, never the latest's
    school.now = LAST_WEEK + timedelta(days=4, hours=12)  # all of the old, one of the new are over
    assert await school.remaining(old, new) == [0, 19]


async def test_a_refunded_renewal_gives_the_old_purchase_back_as_it_was(school: School) -> None:
    old = school.buy("pay-1")
    before = build.rows(school.engine, "SELECT allocation_id, number, status FROM sessions ORDER BY 1, 2")
    school.now = LAST_WEEK
    new = school.buy("pay-2", startDate="2026-12-11")
    school.refund(new)
    assert await school.remaining(old, new) == [4, 0]
    assert [status for _, status, _ in await school.chain(old)] == ["active"]
    assert await school.enrolled(old) is True
    kept = "SELECT allocation_id, number, status FROM sessions WHERE purchase_id = :id ORDER BY 1, 2"
    assert build.rows(school.engine, kept, id=old.purchase_id) == before


async def test_a_renewal_of_a_renewal_carries_both_and_any_of_them_can_be_refunded(school: School) -> None:
    one = school.buy("pay-1")
    school.now += timedelta(days=1)
    two = school.buy("pay-2", startDate="2026-12-11")
    school.now += timedelta(days=1)
    three = school.buy("pay-3", startDate="2026-12-21", purchaseTier=30)
    assert await school.remaining(one, two, three) == [10, 20, 50]
    school.refund(two)
    assert await school.remaining(one, two, three) == [10, 0, 40]
    assert [status for _, status, _ in await school.chain(three)] == ["superseded", "voided", "active"]
    school.refund(three)
    assert await school.remaining(one) == [10]
    assert [status for _, status, _ in await school.chain(one)] == ["active"]


# A purchase of the two as time and refunds left it; whether it alone gives access on the day looked at.
STATES = {"open-ended": True, "lasts": True, "last day": True, "expired": False, "timer late": False, "refunded": False}
LOOKED_AT = datetime(2026, 12, 7, 23, 59, tzinfo=UTC)
UNTIL = {"lasts": "2026-12-31", "last day": "2026-12-07", "expired": "2026-12-06", "timer late": "2026-12-06"}


async def test_access_stays_while_any_purchase_that_was_not_refunded_lasts(school: School) -> None:
    """I6 for two purchases of one course, whatever became of each (mission row 71): all pairs, a student each."""
    pairs = {f"{older} and {newer}": (older, newer) for older, newer in product(STATES, STATES)}
    bought = {name: school.pair(f"s-{number}", *pairs[name]) for number, name in enumerate(pairs)}
    school.now = LOOKED_AT
    told = {name: [await school.enrolled(order) for order in orders] for name, orders in bought.items()}
    assert told == {name: [STATES[older] or STATES[newer]] * 2 for name, (older, newer) in pairs.items()}
    assert wrong(school.engine) == []


def wrong(engine: Engine) -> list[str]:
    """The invariants of access; the provider is in memory, so nothing is asked of its ledger."""
    return [found for found in violations_by(engine, "[]") if found.startswith(("I6", "I8"))]


async def test_lessons_after_the_last_day_are_told_and_stay(school: School) -> None:
    order = school.buy("pay-1", expiryDate="2026-12-07")
    assert await school.lessons_after(order) == [8, 9, 10]  # told as soon as it can be seen
    school.now = datetime(2026, 12, 8, tzinfo=UTC)
    school.access.end_access(order)
    assert await school.lessons_after(order) == [8, 9, 10]
    assert await school.remaining(order) == [3]
    assert build.rows(school.engine, "SELECT DISTINCT status FROM sessions") == [("scheduled",)]
    school.access.extend_access(Extension(order, "k", "ann", "was ill", "2026-12-09"))
    assert await school.lessons_after(order) == [10]


async def test_lessons_that_a_renewal_covers_are_not_told_as_after_the_end(school: School) -> None:
    old = school.buy("pay-1", expiryDate="2026-12-07")
    school.now = LAST_WEEK
    new = school.buy("pay-2", startDate="2026-12-11", expiryDate="2026-12-09")
    assert await school.lessons_after(old) == [10]
    school.refund(new)
    assert await school.lessons_after(old) == [8, 9, 10]


async def test_a_renewed_purchase_is_extended_through_its_renewal(school: School) -> None:
    old = school.buy("pay-1", lessons=False, expiryDate="2026-12-07")
    school.now += timedelta(hours=1)
    new = school.buy("pay-2", lessons=False, expiryDate="2026-12-31")
    extension = Extension(old, "k", "ann", "was ill", "2027-01-31")
    assert f"renewed by purchase {new.purchase_id}" in school.access.extend_access(extension)
    assert school.access.extend_access(Extension(new, "k", "ann", "was ill", "2027-01-31")).endswith("2027-01-31")
