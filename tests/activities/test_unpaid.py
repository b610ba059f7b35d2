"""A purchase without a payment: what the door was asked for is settled, nothing is asked of the provider (row 59, C5)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from domain.ids import manual_workflow_id_of, purchase_id_of
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests.activities.world import in_force
from tests.build import NOW, item, pay, purchase, rows, run, start, student, value
from tests.gateways.in_memory import FakeProvider

SAID = {"startDate": "2026-12-01", "timeSlot": "18:00", "purchaseTier": 20, "courseId": "course-piano"}


def asked(
    engine: Engine, key: str = "k", *, origin: str = "admin", supersede: bool = False, metadata: Any = None
) -> PurchaseOrder:
    """As the direct or the free door leaves it."""
    workflow_id = manual_workflow_id_of(key)
    order = PurchaseOrder(purchase_id_of(workflow_id), workflow_id, "", 1, "student-1", origin)
    run(
        engine,
        "INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, started_at)"
        " VALUES (:id, :workflow, NULL, 1, 'student-1', :origin, :now)",
        id=order.purchase_id, workflow=workflow_id, origin=origin, now=NOW,
    )  # fmt: skip
    run(
        engine,
        "INSERT INTO purchase_requests VALUES"
        " (:id, 'course', 'course-piano', CAST(:said AS jsonb), :supersede, 'ann', 'why', :now)",
        id=order.purchase_id, said=json.dumps(SAID if metadata is None else metadata), supersede=supersede, now=NOW,
    )  # fmt: skip
    return order


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def paying(engine: Engine, provider: FakeProvider) -> PaymentActivities:
    return PaymentActivities(engine, provider, lambda: NOW)


@pytest.fixture
def buying(engine: Engine) -> PurchaseActivities:
    return PurchaseActivities(engine, lambda: NOW)


def test_settles_what_was_asked_and_asks_no_provider(
    engine: Engine, paying: PaymentActivities, buying: PurchaseActivities, provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    order = asked(engine)
    confirmed = paying.confirm_payment(order)
    assert (confirmed.session_count, confirmed.session_count_source, confirmed.amount_minor) == (20, "purchaseTier", 0)
    assert paying.confirm_payment(order) == confirmed
    assert buying.create_purchase(order) == buying.create_purchase(order)
    found = rows(
        engine, "SELECT payment_id, line, metadata, metadata_sources -> 'timeSlot' FROM student_course_purchases"
    )
    assert found == [(None, 1, SAID, "request")]
    assert provider.calls == []


def test_there_is_nothing_to_refund_and_what_was_taken_back_stays_so(
    engine: Engine, paying: PaymentActivities, buying: PurchaseActivities, provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    order = asked(engine)
    paying.confirm_payment(order)
    buying.create_purchase(order)
    assert buying.void_purchase(order).changed
    for _ in range(2):
        undone = paying.refund_payment(order)
        assert (undone.changed, undone.refunded) == (False, False)
    with pytest.raises(Refused, match="made whole") as refused:
        paying.confirm_payment(order)
    assert refused.value.code == "ALREADY_MADE_WHOLE"
    assert (provider.calls, rows(engine, "TABLE refunds"), in_force(engine)["owned"]) == ([], [], [])


def test_a_free_course_is_ownership_whatever_it_is_to_those_who_pay(
    engine: Engine, paying: PaymentActivities, buying: PurchaseActivities
) -> None:
    student(engine)
    item(engine)
    order = asked(engine, origin="free", metadata={"courseId": "course-piano"})
    paying.confirm_payment(order)
    assert buying.create_purchase(order).fulfilment == "ownership"


@pytest.mark.parametrize(
    ("supersede", "expires", "code"),
    [(False, None, "DUPLICATE_PAYMENT_SUSPECTED"), (True, None, None), (False, "2026-11-20", None),
     (False, "2026-11-21", "DUPLICATE_PAYMENT_SUSPECTED")],
)  # fmt: skip
def test_a_purchase_that_came_between_door_and_step_is_superseded_only_by_who_says_so(
    engine: Engine, paying: PaymentActivities, buying: PurchaseActivities,
    supersede: bool, expires: str | None, code: str | None,
) -> None:  # fmt: skip
    older = purchase(engine)
    run(engine, "UPDATE student_course_purchases SET expires_on = CAST(:day AS date)", day=expires)
    order = asked(engine, supersede=supersede)
    paying.confirm_payment(order)
    if code:
        with pytest.raises(Refused) as refused:
            buying.create_purchase(order)
        assert refused.value.code == code
    else:
        buying.create_purchase(order)
    status = value(engine, "SELECT status FROM student_course_purchases WHERE id = :id", id=older.purchase_id)
    assert status == ("active" if code else "superseded")


def test_without_an_item_in_the_catalogue_it_is_refused_as_any(
    engine: Engine, paying: PaymentActivities, buying: PurchaseActivities
) -> None:
    student(engine)
    order = asked(engine)
    paying.confirm_payment(order)
    with pytest.raises(Refused) as refused:
        buying.create_purchase(order)
    assert refused.value.code == "UNKNOWN_ITEM"


def test_beside_a_payment_the_request_is_the_weakest_source(
    engine: Engine, provider: FakeProvider, paying: PaymentActivities, buying: PurchaseActivities
) -> None:
    student(engine)
    item(engine)
    pay(engine, provider)
    order = start(engine, origin="admin")
    run(
        engine,
        "INSERT INTO purchase_requests VALUES (:id, 'course', 'course-piano', CAST(:said AS jsonb), false, 'ann', NULL, :now)",
        id=order.purchase_id, said=json.dumps({**SAID, "groupSize": 2}), now=datetime.now(UTC),
    )  # fmt: skip
    assert paying.confirm_payment(order).session_count == 10
    buying.create_purchase(order)
    sources = value(engine, "SELECT metadata_sources FROM student_course_purchases")
    assert (sources["timeSlot"], sources["purchaseTier"], sources["groupSize"]) == ("payment", "payment", "request")
