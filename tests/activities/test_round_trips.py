"""What a purchase of a course asks of the database when all goes well: each round trip is a wait, and a commit a write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from activities.cart import CartActivities
from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder
from tests import build
from tests.activities.counting import round_trips
from tests.gateways.in_memory import FakeProvider

PLANNED = {
    "confirm_payment": 2,
    "create_purchase": 2,
    "enroll": 1,
    "assign_trainer": 5,  # BEGIN, three statements, COMMIT: the student's row is locked meanwhile
    "create_sessions": 1,
    "clear_cart": 1,
}


def test_a_purchase_of_a_course_takes_no_more_round_trips_than_planned(
    engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]
) -> None:
    build.student(engine)
    build.item(engine)
    build.trainer(engine)
    build.cart_item(engine, "cart-1")
    build.pay(engine, fake_provider)
    order = build.start(engine)
    taken: dict[str, int] = {}
    for name, step in steps(engine, fake_provider, clock).items():
        with round_trips(engine) as sent:
            step(order)
        taken[name] = len(sent)
    assert taken == PLANNED
    assert sum(taken.values()) <= 12
    assert build.value(engine, "SELECT count(*) FROM sessions WHERE status = 'scheduled'") == 10


def steps(
    engine: Engine, provider: FakeProvider, clock: Callable[[], datetime]
) -> dict[str, Callable[[PurchaseOrder], Any]]:
    """All of one purchase, in order."""
    return {
        "confirm_payment": PaymentActivities(engine, provider, clock).confirm_payment,
        "create_purchase": PurchaseActivities(engine, clock).create_purchase,
        "enroll": EnrollmentActivities(engine, clock).enroll,
        "assign_trainer": TrainerActivities(engine, clock, True).assign_trainer,
        "create_sessions": SessionActivities(engine, clock).create_sessions,
        "clear_cart": CartActivities(engine, clock).clear_cart,
    }
