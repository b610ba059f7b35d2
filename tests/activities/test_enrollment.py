"""enroll gives access through a purchase; unenroll ends that access and no other (mission rows 56, 57, 71)."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import Engine

from activities.enrollment import EnrollmentActivities
from tests import build

LIVE = "SELECT count(*) FROM enrollments WHERE student_id = 'student-1' AND ended_at IS NULL"


@pytest.fixture
def enrollments(engine: Engine) -> EnrollmentActivities:
    return EnrollmentActivities(engine, lambda: build.NOW)


def test_access_lasts_until_the_purchases_expiry_day(engine: Engine, enrollments: EnrollmentActivities) -> None:
    order = build.purchase(engine)
    build.run(engine, "UPDATE student_course_purchases SET expires_on = '2027-06-30'")
    enrollments.enroll(order)
    assert build.rows(engine, "SELECT student_id, item_id, expires_on, ended_at FROM enrollments") == [
        ("student-1", "course-piano", date(2027, 6, 30), None)
    ]


def test_bought_twice_and_refunded_once_is_still_enrolled(engine: Engine, enrollments: EnrollmentActivities) -> None:
    first = build.purchase(engine, "pay-1")
    enrollments.enroll(first)
    build.run(engine, "UPDATE student_course_purchases SET status = 'voided', voided_at = now()")
    second = build.purchase(engine, "pay-2")
    enrollments.enroll(second)
    enrollments.unenroll(first)
    assert build.value(engine, LIVE) == 1
    enrollments.unenroll(second)
    assert build.value(engine, LIVE) == 0
