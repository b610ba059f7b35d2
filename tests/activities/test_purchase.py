"""create_purchase gives the student the purchase, void_purchase takes it back, announce tells of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.cart import CartActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from domain.purchase import Announcement, PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.build import LESSONS, NOW
from tests.gateways.in_memory import FakeProvider


class Shop:
    """A student buying courses: `buy` pays, starts and confirms; `create` adds the purchase."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.provider = FakeProvider()
        self.payments = PaymentActivities(engine, self.provider, lambda: NOW)
        self.purchases = PurchaseActivities(engine, lambda: NOW)
        build.student(engine)

    def buy(self, payment_id: str = "pay-1", *, line: int = 1, **paid: Any) -> PurchaseOrder:
        if payment_id not in self.provider.payments:
            build.pay(self.engine, self.provider, payment_id, **paid)
        order = build.start(self.engine, payment_id, line=line)
        self.payments.confirm_payment(order)
        return order

    def create(self, payment_id: str = "pay-1", **paid: Any) -> PurchaseOrder:
        order = self.buy(payment_id, **paid)
        self.purchases.create_purchase(order)
        return order

    def refusal(self, order: PurchaseOrder) -> str:
        with pytest.raises(Refused) as refused:
            self.purchases.create_purchase(order)
        assert self.statuses().get(order.payment_id) is None
        return refused.value.code

    def statuses(self) -> dict[str, str]:
        return dict(build.rows(self.engine, "SELECT payment_id, status FROM student_course_purchases"))

    def events(self) -> list[str]:
        return [row.type for row in build.rows(self.engine, "SELECT type FROM outbox ORDER BY id")]


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)


def test_writes_row_metadata_ownership_and_event_together(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    order = shop.buy(metadata={**LESSONS, "campaign": "c-8", "expiryDate": "2027-06-30"})
    created = shop.purchases.create_purchase(order)
    assert (created.fulfilment, created.item_id) == ("sessions", "course-piano")
    [row] = build.rows(engine, "SELECT * FROM student_course_purchases")
    assert (row.id, row.payment_id, row.line, row.status) == (order.purchase_id, "pay-1", 1, "active")
    assert (row.session_count, row.session_count_source) == (10, "purchaseTier")
    assert row.metadata["timeSlot"] == "18:00"
    assert row.metadata_sources["timeSlot"] == "payment"
    assert row.metadata_extras["campaign"] == "c-8"
    assert row.metadata_extras["classTime"] == "18:00"  # originals are kept (mission row 19)
    assert (row.series_start, row.expires_on, row.purchased_at) == (date(2026, 12, 1), date(2027, 6, 30), NOW)
    assert build.rows(engine, "SELECT purchase_id, student_id, item_id, revoked_at FROM ownerships") == [
        (order.purchase_id, "student-1", "course-piano", None)
    ]
    [event] = build.rows(engine, "SELECT key, data FROM outbox")
    assert event.key == f"purchase:{order.purchase_id}:PURCHASE_CREATED"
    assert "campaign" not in event.data["metadata"]
    assert build.rows(engine, "SELECT id FROM purchases") == [(order.purchase_id,)]


def test_an_expiry_date_that_cannot_be_read_gives_open_ended_access_and_a_warning(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    shop.create(metadata={**LESSONS, "expiryDate": "some day"})
    [row] = build.rows(engine, "SELECT expires_on, warnings FROM student_course_purchases")
    assert row.expires_on is None
    assert any("expiryDate" in warning for warning in row.warnings)


@pytest.mark.parametrize(("zone", "refused"), [("Europe/London", True), ("America/Los_Angeles", False)])
def test_refuses_access_that_is_over_where_the_student_is(shop: Shop, engine: Engine, zone: str, refused: bool) -> None:
    build.item(engine)
    build.run(engine, "UPDATE students SET timezone = :zone", zone=zone)
    order = shop.buy(metadata={**LESSONS, "expiryDate": "2026-11-21"})
    purchases = PurchaseActivities(engine, lambda: datetime(2026, 11, 22, 1, tzinfo=UTC))
    if not refused:
        assert purchases.create_purchase(order).expires
        return
    with pytest.raises(Refused) as no:
        purchases.create_purchase(order)
    assert (no.value.code, "has passed" in str(no.value)) == ("METADATA_INCOMPLETE", True)
    assert "2026" not in str(no.value), "the field is named, never its value"


def test_refuses_an_item_the_catalogue_does_not_have(shop: Shop) -> None:
    assert shop.refusal(shop.buy()) == "UNKNOWN_ITEM"


def test_goes_on_once_the_item_is_in_the_catalogue(shop: Shop, engine: Engine) -> None:
    order = shop.buy()
    assert shop.refusal(order) == "UNKNOWN_ITEM"
    build.item(engine)
    assert shop.purchases.create_purchase(order).item_id == "course-piano"


def test_refuses_a_closed_course_even_when_its_metadata_is_incomplete(shop: Shop, engine: Engine) -> None:
    build.item(engine, is_open=False)
    assert shop.refusal(shop.buy(metadata={})) == "COURSE_UNAVAILABLE"


@pytest.mark.parametrize("missing", ["startDate", "classTime"])
def test_refuses_lessons_without_a_start(shop: Shop, engine: Engine, missing: str) -> None:
    build.item(engine)
    metadata = {key: value for key, value in LESSONS.items() if key != missing}
    assert shop.refusal(shop.buy(metadata=metadata)) == "METADATA_INCOMPLETE"


def test_an_item_without_lessons_needs_no_schedule(shop: Shop, engine: Engine) -> None:
    build.item(engine, fulfilment="ownership")
    order = shop.buy(metadata={})
    assert shop.purchases.create_purchase(order).fulfilment == "ownership"


@pytest.mark.parametrize("minutes", [0, 9, 10, -10])
def test_suspects_a_second_payment_for_the_same_within_ten_minutes(shop: Shop, engine: Engine, minutes: int) -> None:
    build.item(engine)
    shop.create("pay-1")
    order = shop.buy("pay-2", created_at=NOW + timedelta(minutes=minutes))
    assert shop.refusal(order) == "DUPLICATE_PAYMENT_SUSPECTED"
    assert shop.statuses() == {"pay-1": "active"}


@pytest.mark.parametrize(
    "paid",
    [{"created_at": NOW + timedelta(minutes=11)}, {"metadata": {**LESSONS, "purchaseTier": 20}}],
    ids=["later", "another tier"],
)
def test_a_later_or_different_payment_is_a_renewal_that_supersedes(
    shop: Shop, engine: Engine, paid: dict[str, Any]
) -> None:
    build.item(engine)
    shop.create("pay-1")
    renewal = shop.create("pay-2", **paid)
    assert shop.statuses() == {"pay-1": "superseded", "pay-2": "active"}
    assert build.value(engine, "SELECT superseded_by FROM student_course_purchases WHERE payment_id = 'pay-1'") == (
        renewal.purchase_id
    )
    assert build.value(engine, "SELECT count(*) FROM ownerships WHERE revoked_at IS NULL") == 2


def test_two_lines_of_one_payment_for_the_same_course_are_no_duplicate(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    course = ("course", "course-piano")
    shop.create("pay-1", items=(course, course))
    second = shop.buy("pay-1", line=2)
    shop.purchases.create_purchase(second)
    assert build.value(engine, "SELECT count(*) FROM student_course_purchases") == 2


def test_refuses_a_line_another_student_holds(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    build.student(engine, "student-2")
    order = shop.create()
    build.run(engine, "UPDATE student_course_purchases SET student_id = 'student-2'")
    build.run(engine, "DELETE FROM purchase_steps WHERE step = 'create_purchase'")
    with pytest.raises(Refused) as refused:
        shop.purchases.create_purchase(order)
    assert refused.value.code == "CONFLICT_OTHER_OWNER"


def test_will_not_create_what_was_not_confirmed(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    build.pay(engine)
    with pytest.raises(RuntimeError, match="before confirm_payment"):
        shop.purchases.create_purchase(build.start(engine))


def test_will_not_create_what_was_refunded(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    order = shop.buy()
    shop.payments.refund_payment(order)
    assert shop.refusal(order) == "ALREADY_MADE_WHOLE"


def test_voiding_marks_the_row_revokes_ownership_and_tells(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    order = shop.create()
    assert shop.purchases.void_purchase(order).changed
    assert build.rows(engine, "SELECT status, voided_at FROM student_course_purchases") == [("voided", NOW)]
    assert build.value(engine, "SELECT revoked_at FROM ownerships") == NOW
    assert shop.events() == ["PURCHASE_CREATED", "PURCHASE_VOIDED"]


def test_voiding_a_renewal_makes_the_older_purchase_active_again(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    shop.create("pay-1")
    renewal = shop.create("pay-2", created_at=NOW + timedelta(days=30))
    shop.purchases.void_purchase(renewal)
    assert shop.statuses() == {"pay-1": "active", "pay-2": "voided"}
    assert build.value(engine, "SELECT superseded_by FROM student_course_purchases WHERE payment_id = 'pay-1'") is None


def test_voiding_the_middle_of_three_leaves_the_newest_active_and_hands_the_oldest_on(
    shop: Shop, engine: Engine
) -> None:
    build.item(engine)
    shop.create("pay-1")
    middle = shop.create("pay-2", created_at=NOW + timedelta(days=30))
    newest = shop.create("pay-3", created_at=NOW + timedelta(days=60))
    shop.purchases.void_purchase(middle)
    assert shop.statuses() == {"pay-1": "superseded", "pay-2": "voided", "pay-3": "active"}
    shop.purchases.void_purchase(newest)
    assert shop.statuses() == {"pay-1": "active", "pay-2": "voided", "pay-3": "voided"}


def test_voiding_the_older_purchase_leaves_its_renewal_alone(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    older = shop.create("pay-1")
    shop.create("pay-2", created_at=NOW + timedelta(days=30))
    shop.purchases.void_purchase(older)
    assert shop.statuses() == {"pay-1": "voided", "pay-2": "active"}


def test_completing_twice_tells_once_and_keeps_ending_and_time(
    shop: Shop, engine: Engine, clock: Callable[[], datetime]
) -> None:
    build.item(engine)
    order = shop.create()
    build.run(
        engine,
        "INSERT INTO operator_decisions VALUES (:id, 'k', 1, 'skip_step', '{\"step\": \"enroll\"}', 'ann', 'why', now())",
        id=order.purchase_id,
    )
    CartActivities(engine, clock).clear_cart(order)
    CartActivities(engine, lambda: clock() + timedelta(days=1)).clear_cart(order)
    [start] = build.rows(engine, "SELECT ending, code, refunded, ended_at FROM purchase_starts")
    assert tuple(start) == ("completed", None, False, NOW)
    assert build.value(engine, "SELECT completed_at FROM student_course_purchases") == NOW
    assert shop.events() == ["PURCHASE_CREATED", "PURCHASE_COMPLETED"]
    assert build.value(engine, "SELECT data -> 'skipped' FROM outbox WHERE type = 'PURCHASE_COMPLETED'") == ["enroll"]


def test_announcing_attention_ends_nothing(shop: Shop, engine: Engine) -> None:
    build.item(engine)
    order = shop.create()
    shop.purchases.announce(Announcement(order, "PURCHASE_NEEDS_ATTENTION", code="NO_TRAINER_AVAILABLE"))
    [start] = build.rows(engine, "SELECT ending, code, refunded, ended_at FROM purchase_starts")
    assert tuple(start) == (None, None, None, None)


def test_announcing_a_refusal_keeps_its_code_and_that_money_went_back(shop: Shop, engine: Engine) -> None:
    order = shop.buy()
    shop.payments.refund_payment(order)
    shop.purchases.announce(Announcement(order, "PURCHASE_REFUNDED", ending="refused", code="COURSE_UNAVAILABLE"))
    [start] = build.rows(engine, "SELECT ending, code, refunded FROM purchase_starts")
    assert tuple(start) == ("refused", "COURSE_UNAVAILABLE", True)


def test_an_announcement_of_an_earlier_attempt_does_not_end_the_later_one(shop: Shop, engine: Engine) -> None:
    order = shop.buy()
    build.run(engine, "UPDATE purchase_starts SET attempt = 2")
    shop.purchases.announce(Announcement(order, "", ending="refused", code="PAYMENT_NOT_SUCCEEDED"))
    assert build.value(engine, "SELECT ending FROM purchase_starts") is None
