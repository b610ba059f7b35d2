"""Whatever changes what a student's learning page shows makes the cached page stale with its own commit (row 28, C8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import Engine

from activities.cart import CartActivities
from activities.enrollment import EnrollmentActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder
from tests import build

VERSIONS = "SELECT student_id, version FROM learning_versions ORDER BY 1"


@pytest.fixture
def changes(engine: Engine, clock: Callable[[], datetime]) -> dict[str, Callable[[PurchaseOrder], object]]:
    sessions, enrollment = SessionActivities(engine, clock), EnrollmentActivities(engine, clock)
    return {
        "enroll": enrollment.enroll,
        "create_sessions": sessions.create_sessions,
        "cancel_sessions": sessions.cancel_sessions,
        "unenroll": enrollment.unenroll,
        "clear_cart": CartActivities(engine, clock).clear_cart,
        "void_purchase": PurchaseActivities(engine, clock).void_purchase,
    }


def test_each_change_makes_a_newer_version_once_and_for_that_student_only(
    engine: Engine, clock: Callable[[], datetime], changes: dict[str, Callable[[PurchaseOrder], object]]
) -> None:
    build.trainer(engine)
    build.purchase(engine, "pay-2", student_id="student-2")
    order = build.purchase(engine)
    TrainerActivities(engine, clock).assign_trainer(order)
    build.run(
        engine,
        "INSERT INTO purchase_steps VALUES (:id, 1, 'create_purchase', 'done', '{}', now())",
        id=order.purchase_id,
    )
    before = dict(map(tuple, build.rows(engine, VERSIONS)))
    told: list[str] = []
    for name, change in changes.items():
        change(order)
        now = dict(map(tuple, build.rows(engine, VERSIONS)))
        if now.get("student-1", 0) == before.get("student-1", 0) + 1:
            told.append(name)
        assert now.get("student-2") == before.get("student-2")
        change(order)
        assert dict(map(tuple, build.rows(engine, VERSIONS))) == now, f"a repeat of {name} changes nothing"
        before = now
    assert told == list(changes)
