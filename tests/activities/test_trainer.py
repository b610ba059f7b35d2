"""assign_trainer and its undo, on a real PostgreSQL (mission rows 73, 74, 78)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from activities.closed_days import StrandedActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.build import NOW, rows, run, value

HELD = "SELECT count(*) FROM trainer_slots WHERE status = 'held'"


@pytest.fixture
def trainers(engine: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(engine, clock, auto_approve=True)


def refusal(step: Callable[[PurchaseOrder], Any], order: PurchaseOrder) -> Refused:
    with pytest.raises(Refused) as caught:
        step(order)
    return caught.value


def nothing_is_left(engine: Engine) -> bool:
    written = "SELECT (SELECT count(*) FROM allocations) + (SELECT count(*) FROM trainer_slots)"
    return value(engine, f"{written} + (SELECT count(*) FROM purchase_steps)") == 0  # noqa: S608 - no input


def test_holds_every_slot_of_the_plan_in_the_students_zone(engine: Engine, trainers: TrainerActivities) -> None:
    build.student(engine, timezone="America/New_York")
    build.trainer(engine, hours=("00:00", "23:59"))
    order = build.purchase(engine, session_count=10, fields={"sessionDuration": 45})

    assigned = trainers.assign_trainer(order)

    assert (assigned.trainer_id, assigned.slots) == ("trainer-1", 10)
    slots = rows(
        engine,
        "SELECT number, lower(during) AS starts, upper(during) AS ends, local_start, zone, status, allocation_id"
        " FROM trainer_slots ORDER BY number",
    )
    assert [slot.number for slot in slots] == list(range(1, 11))
    assert slots[0].starts == datetime(2026, 12, 1, 23, 0, tzinfo=UTC)
    assert slots[0].local_start == datetime(2026, 12, 1, 18, 0)  # noqa: DTZ001 - wall time
    assert slots[9].starts == datetime(2026, 12, 10, 23, 0, tzinfo=UTC)
    assert all(slot.ends - slot.starts == timedelta(minutes=45) for slot in slots)
    assert {(slot.zone, slot.status, slot.allocation_id) for slot in slots} == {
        ("America/New_York", "held", assigned.allocation_id)
    }
    assert value(engine, "SELECT status FROM allocations") == "approved"
    assert value(engine, "SELECT last_assigned_at FROM trainers") == NOW


def test_no_place_radius_or_day_of_one_trainer_stops_the_others(engine: Engine, trainers: TrainerActivities) -> None:
    """A value out of range in the one statement that asks for all of them would be trouble for every student, for ever."""
    build.student(engine, latitude=1e-300, longitude=51.5)
    build.trainer(engine, latitude=0.0, longitude=51.5)
    odd = {
        "radius": (0.1, 51.5, 1.7e308), "tiny": (1e-200, 51.5, 10.0), "tiniest": (5e-324, 5e-324, 0.0),
        "huge": (1e308, -1e308, 10.0), "other side": (180.0, 231.5, 10.0), "turned": (360.0, 411.5, 0.0),
    }  # fmt: skip
    for name, (latitude, longitude, radius_km) in odd.items():
        build.trainer(engine, name, latitude=latitude, longitude=longitude, radius_km=radius_km)
    for day in ("0001-01-01", "9999-12-31"):
        run(engine, "INSERT INTO trainer_blocked_days SELECT id, CAST(:day AS date) FROM trainers", day=day)
        run(engine, "INSERT INTO holidays VALUES (CAST(:day AS date))", day=day)
    order = build.purchase(engine, fields={"learningMode": "home"})
    assert trainers.assign_trainer(order).trainer_id in ("trainer-1", "radius")
    trainers.approve_allocation(order)
    stranded = StrandedActivities(engine, lambda: NOW)
    assert (stranded.find_stranded_lessons(""), stranded.move_stranded_lessons(order.purchase_id)) == (
        [],
        "nothing to move",
    )


def test_a_second_do_answers_the_first_result_and_holds_nothing_more(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    first = trainers.assign_trainer(order)
    build.trainer(engine, "trainer-0")

    assert trainers.assign_trainer(order) == first
    assert value(engine, HELD) == 10
    assert value(engine, "SELECT count(*) FROM allocations") == 1


def test_undo_frees_the_slots_and_keeps_the_rows(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)

    assert trainers.release_trainer(order).changed
    assert trainers.release_trainer(order).changed, "a second undo gives the same answer"
    assert value(engine, HELD) == 0
    assert value(engine, "SELECT count(*) FROM trainer_slots WHERE status = 'cancelled'") == 10
    assert value(engine, "SELECT status FROM allocations") == "cancelled"
    other = build.purchase(engine, "pay-2", student_id="student-2")
    assert trainers.assign_trainer(other).trainer_id == "trainer-1", "the freed times can be held again"


def test_undo_alone_leaves_a_tombstone_that_refuses_a_late_do(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine)

    assert not trainers.release_trainer(order).changed
    assert refusal(trainers.assign_trainer, order).code == "ALREADY_MADE_WHOLE"
    assert value(engine, "SELECT count(*) FROM allocations") == 0


def test_a_new_attempt_of_the_line_is_not_held_back_by_the_old_tombstone(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)
    trainers.release_trainer(order)

    assert trainers.assign_trainer(replace(order, attempt=2)).slots == 10


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        ({"timezone": None}, "STUDENT_PROFILE_MISSING"),
        ({"timezone": None, "latitude": None}, "STUDENT_PROFILE_MISSING"),
        ({"timezone": "Mars/Olympus"}, "STUDENT_PROFILE_MISSING"),
        ({"latitude": None}, "GPS_INVALID"),
        ({"latitude": 0.0, "longitude": 0.0}, "GPS_INVALID"),
        ({"latitude": 91.0}, "GPS_INVALID"),
        ({"longitude": float("nan")}, "GPS_INVALID"),
    ],
)
def test_a_bad_profile_refuses_even_without_any_trainer_and_heals(
    engine: Engine, trainers: TrainerActivities, profile: dict[str, Any], code: str
) -> None:
    build.student(engine, **profile)
    order = build.purchase(engine)

    assert refusal(trainers.assign_trainer, order).code == code
    assert nothing_is_left(engine)

    run(engine, "UPDATE students SET timezone = 'Europe/London', latitude = 51.5, longitude = -0.1")
    build.trainer(engine)
    assert trainers.assign_trainer(order).slots == 10


def test_the_students_own_overlap_is_named_before_a_missing_trainer(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    trainers.assign_trainer(build.purchase(engine, "pay-1"))
    other = build.purchase(engine, "pay-2", item_id="course-chess", fields={"startDate": "2026-12-08"},
                           series_start="2026-12-08")  # fmt: skip

    refused = refusal(trainers.assign_trainer, other)

    assert refused.code == "SCHEDULE_CONFLICT"
    assert "lesson 1 (2026-12-08 18:00)" in refused.message
    assert value(engine, HELD) == 10


def test_back_to_back_lessons_are_no_overlap(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    trainers.assign_trainer(build.purchase(engine, "pay-1"))
    other = build.purchase(engine, "pay-2", student_id="student-2", fields={"timeSlot": "19:00"})

    assert trainers.assign_trainer(other).trainer_id == "trainer-1"


def test_nobody_free_says_how_many_there_are_and_why_the_nearest_lost(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "trainer-far", latitude=40.0)
    build.trainer(engine, "trainer-near", hours=("06:00", "12:00"))
    run(engine, "INSERT INTO trainer_blocked_days VALUES ('trainer-far', '2026-12-04')")
    order = build.purchase(engine)

    refused = refusal(trainers.assign_trainer, order)

    assert refused.code == "NO_TRAINER_AVAILABLE"
    assert "none of 2 trainers of course-piano" in refused.message
    assert "the nearest, trainer-near: not available for lesson 1" in refused.message
    assert nothing_is_left(engine)
    assert value(engine, "SELECT count(*) FROM trainers WHERE last_assigned_at IS NOT NULL") == 0


def test_a_course_without_trainers_says_so_and_a_new_trainer_heals_it(
    engine: Engine, trainers: TrainerActivities
) -> None:
    order = build.purchase(engine)
    refused = refusal(trainers.assign_trainer, order)
    assert (refused.code, refused.message) == ("NO_TRAINER_AVAILABLE", "no trainer teaches course-piano")

    build.trainer(engine)
    assert trainers.assign_trainer(order).trainer_id == "trainer-1"


def test_the_least_loaded_wins_and_every_other_candidate_has_a_reason(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "a-loaded")
    earlier = build.purchase(engine, "pay-1", student_id="student-2", fields={"timeSlot": "08:00"})
    trainers.assign_trainer(earlier)
    build.trainer(engine, "b-recent", last_assigned_at=NOW - timedelta(days=1))
    build.trainer(engine, "c-longer-ago", last_assigned_at=NOW - timedelta(days=2))
    build.trainer(engine, "d-evenings", hours=("18:30", "22:00"))

    assert trainers.assign_trainer(build.purchase(engine, "pay-2")).trainer_id == "c-longer-ago"
    lost = value(engine, "SELECT lost FROM allocations WHERE trainer_id = 'c-longer-ago'")
    assert lost == {
        "a-loaded": "holds 10 future slots, c-longer-ago 0",
        "b-recent": "assigned more recently than c-longer-ago",
        "d-evenings": "not available for lesson 1 (2026-12-01 18:00)",
    }


def test_slots_of_the_past_and_cancelled_ones_are_no_load(engine: Engine, clock: Callable[[], datetime]) -> None:
    build.trainer(engine, "trainer-1")
    TrainerActivities(engine, clock).assign_trainer(build.purchase(engine, "pay-1", student_id="student-2"))
    build.trainer(engine, "trainer-2", last_assigned_at=NOW + timedelta(days=1))
    later = build.purchase(engine, "pay-2", fields={"startDate": "2027-03-01"}, series_start="2027-03-01")

    january = TrainerActivities(engine, lambda: NOW + timedelta(days=60))
    assert january.assign_trainer(later).trainer_id == "trainer-1", "no load left, and assigned longer ago"


def test_the_allocation_says_all_that_the_older_system_said(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine, fields={"isSundayOnly": True, "groupSize": 2, "learningMode": "online"},
                           series_start=None)  # fmt: skip
    extras = '{"campaign": "c-8", "preferredTimeSlot": "17:00", "schedule": {"note": "x", "date": "2026-12-01"}}'
    run(engine, "UPDATE student_course_purchases SET metadata_extras = CAST(:extras AS jsonb)", extras=extras)

    trainers.assign_trainer(order)

    assert value(engine, "SELECT metadata FROM allocations") == {
        "courseId": "course-piano", "startDate": "2026-12-01", "sessionDuration": 60, "scheduleType": "daily",
        "purchaseTier": 10, "isSundayOnly": True, "groupSize": 2, "learningMode": "online", "campaign": "c-8",
        "sessionCount": 10, "sessionCountSource": "purchaseTier", "timeSlot": "18:00", "date": "2026-12-06",
        "preferredTimeSlot": "17:00", "preferredDate": "2026-12-01",
        "schedule": {"note": "x", "timeSlot": "18:00", "date": "2026-12-06"},
    }  # fmt: skip


@pytest.mark.parametrize("stored", [None, "2026-11-01"])
def test_a_series_whose_first_lesson_has_passed_starts_from_tomorrow_and_is_stored(
    engine: Engine, trainers: TrainerActivities, stored: str | None
) -> None:
    build.trainer(engine)
    order = build.purchase(engine, fields={"startDate": "2026-11-02", "scheduleType": "weekly"}, series_start=stored)

    trainers.assign_trainer(order)

    assert str(value(engine, "SELECT series_start FROM student_course_purchases")) == "2026-11-23"
    assert str(value(engine, "SELECT min(local_start) FROM trainer_slots")) == "2026-11-23 18:00:00"
    assert len(value(engine, "SELECT warnings FROM student_course_purchases")) == 1


def test_a_stored_series_start_stands_while_it_is_in_the_future(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine, fields={"startDate": "2026-11-02"}, series_start="2026-11-30")

    trainers.assign_trainer(order)

    assert str(value(engine, "SELECT min(local_start) FROM trainer_slots")) == "2026-11-30 18:00:00"
    assert value(engine, "SELECT warnings FROM student_course_purchases") == []


def test_holidays_shift_the_plan(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    run(engine, "INSERT INTO holidays VALUES ('2026-12-03'), ('2026-12-04')")

    trainers.assign_trainer(build.purchase(engine, session_count=10))

    days = [row.day.day for row in rows(engine, "SELECT local_start AS day FROM trainer_slots ORDER BY number")]
    assert days == [1, 2, 5, 6, 7, 8, 9, 10, 11, 12]


def test_the_facts_of_an_assignment_are_logged_without_personal_data(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order = build.purchase(engine)

    with capture_logs() as logs:
        trainers.assign_trainer(order)

    started, completed = logs
    assert (started["event"], completed["event"]) == ("auto_assignment_started", "auto_assignment_completed")
    assert (started["sessions"], started["session_count_source"], started["course_id"]) == (
        10, "purchaseTier", "course-piano",
    )  # fmt: skip
    assert (completed["payment_id"], completed["workflow_id"]) == ("pay-1", "purchase:pay-1:1")
    assert "51.5" not in str(logs), "no coordinates"
