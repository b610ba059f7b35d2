"""Access that ends months from now, in the student's zone, with and without an extension on the way (mission row 57)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from domain.ids import expiry_id_of
from domain.purchase import PurchaseOrder
from tests.build import NOW
from tests.time.conftest import Handle, Shop
from workflows.expiry import ExpiryWorkflow
from workflows.messages import Extend
from workflows.policies import Rules

MINUTE = timedelta(minutes=1)
OVER = datetime(2027, 6, 30, 23, tzinfo=UTC)  # London's midnight, in summer
LONGER = datetime(2028, 1, 1, tzinfo=UTC)  # and in winter
OPEN = "SELECT ended_at IS NULL AND NOT expired FROM enrollments"
EXPIRED = "SELECT expired_at FROM student_course_purchases"


async def bought(shop: Shop) -> tuple[PurchaseOrder, Handle]:
    """What ends the access of a purchase with lessons; it lasts until 30 June."""
    order, run = await shop.buy(Rules(), expiryDate="2027-06-30")
    assert await run.result() == "completed"
    return order, shop.client.get_workflow_handle_for(ExpiryWorkflow.run, expiry_id_of(order.purchase_id))


async def test_it_ends_when_the_last_day_is_over_and_not_before(shop: Shop):
    _, expiry = await bought(shop)
    await shop.passes(expiry, OVER - NOW + MINUTE)
    assert await expiry.result() == "ended"
    assert shop.value(OPEN) is False
    assert OVER <= shop.value(EXPIRED) < OVER + MINUTE
    assert shop.value("SELECT count(*) FROM sessions WHERE status = 'scheduled'") == 10


async def test_extended_in_spring_it_outlives_its_first_end_and_ends_at_the_second(shop: Shop):
    _, expiry = await bought(shop)
    await shop.passes(expiry, timedelta(days=150))
    act = Extend("ann", "the student was ill", "k1", expiry_date="2027-12-31")
    assert await expiry.execute_update(ExpiryWorkflow.extend, act) == "access lasts until 2027-12-31"
    await shop.passes(expiry, timedelta(days=150))
    assert shop.value(OPEN) is True
    assert shop.value("SELECT expires_on FROM enrollments") == date(2027, 12, 31)
    await shop.passes(expiry, LONGER - NOW - timedelta(days=300) + MINUTE)
    assert await expiry.result() == "ended"
    assert shop.value(OPEN) is False
    assert LONGER <= shop.value(EXPIRED) < LONGER + MINUTE
    events = "SELECT array_agg(type ORDER BY id) FROM outbox WHERE type LIKE '%E%ED' AND type <> 'PURCHASE_CREATED'"
    assert shop.value(events) == ["PURCHASE_COMPLETED", "PURCHASE_EXTENDED", "PURCHASE_EXPIRED"]
