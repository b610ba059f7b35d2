"""Slot holds: what they keep others from, what a purchase makes of them, and how they end (mission row C14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import time, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.lesson_changes import LessonChangeActivities
from activities.sessions import SessionActivities
from activities.slot_holds import HoldActivities
from activities.trainer import TrainerActivities
from db.slot_holds import TooManyHolds
from domain.lesson_changes import LessonChange
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide
from tests.activities.holding import Holder, holder
from tests.build import NOW, rows, run, value

HELD = "SELECT count(*) FROM trainer_slots WHERE status = 'held'"
STATUS = "SELECT status FROM allocations WHERE id = :id"


@pytest.fixture
def held(database_url: str) -> Iterator[Holder]:
    with holder(database_url, pool_size=3) as own:
        yield own


@pytest.fixture
def trainers(engine: Engine, held: Holder) -> TrainerActivities:
    return TrainerActivities(engine, held.at.clock)


@pytest.fixture
def students(engine: Engine) -> None:
    for number in (1, 2, 3):
        build.student(engine, f"student-{number}")


def refusal(step: Callable[..., Any], *args: Any, **more: Any) -> str:
    with pytest.raises(Refused) as caught:
        step(*args, **more)
    return caught.value.code


@pytest.mark.usefixtures("students")
def test_a_hold_keeps_the_times_from_purchases_and_holds_of_others(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    kept = held.hold("student-1")
    assert (kept.trainer_id, kept.lessons, kept.expires_at) == ("trainer-1", 10, NOW + timedelta(minutes=10))
    assert value(engine, HELD) == 10

    assert refusal(held.hold, "student-2") == "NO_TRAINER_AVAILABLE"
    order = build.purchase(engine, student_id="student-2")
    assert refusal(trainers.assign_trainer, order) == "NO_TRAINER_AVAILABLE"
    assert value(engine, HELD) == 10
    assert value(engine, "SELECT last_assigned_at FROM trainers") is None, "a hold is no assignment"


def test_the_purchase_of_the_same_lessons_takes_the_hold_over(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "a-first")
    build.trainer(engine, "b-second")
    order = build.purchase(engine)
    kept = held.hold("student-1")
    run(engine, "UPDATE trainers SET last_assigned_at = now() + interval '1 day' WHERE id = 'a-first'")

    assigned = trainers.assign_trainer(order)

    assert (assigned.allocation_id, assigned.trainer_id, assigned.slots) == (kept.id, "a-first", 10)
    [row] = rows(engine, "SELECT purchase_id, status, lost, metadata ->> 'sessionCount' AS count FROM allocations")
    assert tuple(row) == (order.purchase_id, "approved", {"b-second": "a-first was held before paying"}, "10")
    assert value(engine, HELD) == 10
    assert trainers.assign_trainer(order) == assigned, "a second do answers the first result"
    trainers.release_trainer(order)
    assert value(engine, HELD) == 0


@pytest.mark.parametrize("other", [{"timeSlot": "19:00"}, {"startDate": "2026-12-02"}, {"sessionDuration": 45}])
def test_a_purchase_of_other_lessons_lets_the_hold_go(
    engine: Engine, held: Holder, trainers: TrainerActivities, other: dict[str, Any]
) -> None:
    build.trainer(engine)
    order = build.purchase(engine, fields=other, series_start=None)
    kept = held.hold("student-1")

    assigned = trainers.assign_trainer(order)

    assert assigned.allocation_id != kept.id
    assert value(engine, STATUS, id=kept.id) == "cancelled"
    assert value(engine, HELD) == 10


@pytest.mark.parametrize("change", [
    "INSERT INTO trainer_blocked_days VALUES ('a-first', '2026-12-03')",
    "DELETE FROM trainer_courses WHERE trainer_id = 'a-first'",
    "UPDATE trainer_availability SET ends = '12:00' WHERE trainer_id = 'a-first'",
])  # fmt: skip
def test_a_trainer_who_can_no_longer_is_not_taken_over(
    engine: Engine, held: Holder, trainers: TrainerActivities, change: str
) -> None:
    build.trainer(engine, "a-first")
    build.trainer(engine, "b-second")
    order = build.purchase(engine)
    kept = held.hold("student-1")
    run(engine, change)

    assert trainers.assign_trainer(order).trainer_id == "b-second"
    assert value(engine, STATUS, id=kept.id) == "cancelled"


def test_a_hold_that_expired_while_paying_is_matched_anew(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    kept = held.hold("student-1")
    held.later(timedelta(minutes=10))

    assigned = trainers.assign_trainer(order)

    assert assigned.allocation_id != kept.id
    assert value(engine, STATUS, id=kept.id) == "cancelled"
    assert value(engine, HELD) == 10


@pytest.mark.usefixtures("students")
def test_an_expired_hold_that_no_timer_released_blocks_nobody(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    held.hold("student-1")
    held.later(timedelta(minutes=10))
    again = held.hold("student-2")
    assert again.trainer_id == "trainer-1"

    held.later(timedelta(minutes=10))
    assert trainers.assign_trainer(build.purchase(engine, student_id="student-3")).trainer_id == "trainer-1"
    assert value(engine, HELD) == 10
    assert value(engine, "SELECT count(*) FROM allocations WHERE status = 'on_hold'") == 0


def test_a_new_hold_of_the_same_course_replaces_the_old_one(engine: Engine, held: Holder) -> None:
    build.trainer(engine)
    build.student(engine)
    first = held.hold("student-1")
    second = held.hold("student-1", at=time(18, 30))

    assert value(engine, STATUS, id=first.id) == "cancelled"
    assert value(engine, STATUS, id=second.id) == "on_hold"
    assert value(engine, HELD) == 10


def test_a_student_holds_three_courses_at_most(engine: Engine, held: Holder) -> None:
    courses = tuple(f"course-{number}" for number in range(4))
    build.trainer(engine, courses=courses)
    build.student(engine)
    for number, course in enumerate(courses[:3]):
        held.hold("student-1", course, at=time(8 + number))

    with pytest.raises(TooManyHolds):
        held.hold("student-1", courses[3], at=time(20))

    held.hold("student-1", courses[0], at=time(20))  # instead of its own
    assert value(engine, "SELECT count(*) FROM allocations WHERE status = 'on_hold'") == 3
    held.later(timedelta(minutes=10))
    held.hold("student-1", courses[3], at=time(12))
    assert value(engine, "SELECT count(*) FROM allocations WHERE status = 'on_hold'") == 1


def test_holds_of_one_student_may_not_meet_but_a_purchase_goes_before_a_hold(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(engine, name, courses=("course-piano", "course-chess"))
    order = build.purchase(engine)
    chess = held.hold("student-1", "course-chess")
    assert refusal(held.hold, "student-1", "course-piano") == "SCHEDULE_CONFLICT"
    late = held.hold("student-1", "course-piano", at=time(21))

    assert trainers.assign_trainer(order).slots == 10

    assert [value(engine, STATUS, id=hold.id) for hold in (chess, late)] == ["cancelled", "cancelled"]
    assert value(engine, HELD) == 10


def test_a_purchase_leaves_a_hold_of_another_course_alone_that_it_does_not_meet(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine, courses=("course-piano", "course-chess"))
    order = build.purchase(engine)
    chess = held.hold("student-1", "course-chess", at=time(9))

    trainers.assign_trainer(order)

    assert value(engine, STATUS, id=chess.id) == "on_hold"
    assert value(engine, HELD) == 20


def test_an_operators_choice_goes_before_the_hold(engine: Engine, held: Holder, trainers: TrainerActivities) -> None:
    build.trainer(engine, "a-first")
    build.trainer(engine, "b-second")
    order = build.purchase(engine)
    kept = held.hold("student-1")
    decide(engine, order, "assign_trainer", trainerId="b-second")

    assert trainers.assign_trainer(order).trainer_id == "b-second"
    assert value(engine, STATUS, id=kept.id) == "cancelled"


def test_the_timer_ends_a_hold_once_and_never_what_a_purchase_took_over(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order: PurchaseOrder = build.purchase(engine)
    timer = HoldActivities(engine, held.at.clock)
    first = held.hold("student-1")
    assert timer.release_hold(first.id)
    assert not timer.release_hold(first.id)
    assert value(engine, HELD) == 0

    second = held.hold("student-1")
    trainers.assign_trainer(order)
    assert not timer.release_hold(second.id)
    assert value(engine, STATUS, id=second.id) == "approved"
    assert value(engine, HELD) == 10


def test_a_hold_is_a_load_and_its_student_cannot_be_double_booked(engine: Engine, held: Holder) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(engine, name)
    for number in (1, 2):
        build.student(engine, f"student-{number}")
    assert held.hold("student-1", at=time(9)).trainer_id == "trainer-1"
    assert held.hold("student-2", at=time(12)).trainer_id == "trainer-2", "the one with less to do"


def test_an_expired_hold_is_in_the_way_of_no_lesson_that_is_moved(
    engine: Engine, held: Holder, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    build.student(engine, "student-2")
    order = build.purchase(engine)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)
    SessionActivities(engine, held.at.clock).create_sessions(order)
    held.hold("student-2", at=time(9))
    held.later(timedelta(minutes=10))
    moved = {"number": 3, "date": "2026-12-03", "timeSlot": "09:30"}

    change = LessonChange(order.purchase_id, "k-1", "reschedule_lesson", "ann", "they asked", moved)
    outcome = LessonChangeActivities(engine, held.at.clock).change_lessons(change)

    assert outcome.startswith("done"), outcome
