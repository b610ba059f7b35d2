"""The load that is kept with a trainer is the count of the slots, whatever changes them and whatever time it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import Engine, text

from activities.lesson_changes import LessonChangeActivities
from activities.pruning import PruningActivities
from activities.trainer import TrainerActivities
from db.effects.slot_holds import release
from db.loads import WRONG, count_begun, mend
from domain.lesson_changes import LessonChange
from domain.purchase import PurchaseOrder
from tests import build
from tests.activities.deciding import decide
from tests.activities.holding import holder
from tests.activities.test_lesson_changes import lessons
from tests.activities.test_trainer_race import until_blocked
from tests.build import NOW, rows, run, value

KEPT = "SELECT id, load FROM trainers ORDER BY id"
FIRST_LESSON = datetime.fromisoformat("2026-12-01T18:00Z")


@pytest.fixture
def trainers(engine: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(engine, clock)


def kept(engine: Engine) -> dict[str, int]:
    """The loads kept; none of them is wrong."""
    assert rows(engine, WRONG) == []
    return dict(rows(engine, KEPT))


def crowd(engine: Engine, count: int, *, hours: tuple[str, str] = ("06:00", "22:30")) -> None:
    """Trainers c-000, c-001, ... of the course, who hold nothing."""
    for statement in (
        """INSERT INTO trainers (id, name, timezone, latitude, longitude, radius_km)
           SELECT 'c-' || lpad(n::text, 3, '0'), 'c', 'Europe/London', 51.5, -0.12, 30
           FROM generate_series(0, :count - 1) AS n""",
        "INSERT INTO trainer_courses SELECT id, 'course-piano' FROM trainers WHERE name = 'c' AND :count > 0",
    ):
        run(engine, statement, count=count)
    run(
        engine,
        """INSERT INTO trainer_availability SELECT id, weekday, CAST(:opens AS time), CAST(:closes AS time)
           FROM trainers, generate_series(1, 7) AS weekday WHERE name = 'c'""",
        opens=hours[0], closes=hours[1],
    )  # fmt: skip


def busy(engine: Engine) -> None:
    """Each of the crowd has a lesson of some purchase at the time of the first lesson."""
    for statement in (
        "INSERT INTO students (id, name) SELECT 's' || id, id FROM trainers WHERE name = 'c'",
        """INSERT INTO purchase_starts (purchase_id, workflow_id, line, student_id, origin, started_at)
           SELECT id, id, 1, 's' || id, 'admin', now() FROM trainers WHERE name = 'c'""",
        """INSERT INTO student_course_purchases (id, workflow_id, line, student_id, item_type, item_id, fulfilment,
             status, session_count, session_count_source, purchased_at)
           SELECT id, id, 1, 's' || id, 'course', 'course-piano', 'sessions', 'active', 1, 'default', now()
           FROM trainers WHERE name = 'c'""",
        """INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at)
           SELECT id, id, id, 's' || id, 'approved', now() FROM trainers WHERE name = 'c'""",
        """INSERT INTO trainer_slots (allocation_id, number, trainer_id, student_id, during, local_start, zone, status)
           SELECT id, 1, id, 's' || id, '[2026-12-01 18:30Z,2026-12-01 19:30Z)', '2026-12-01 18:30', 'UTC', 'held'
           FROM trainers WHERE name = 'c'""",
    ):
        run(engine, statement)


def test_it_follows_what_happens_to_a_purchase(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, "a")
    order = lessons(engine)
    build.trainer(engine, "b")
    assert kept(engine) == {"a": 10, "b": 0}
    for number, (verb, values, loads) in enumerate([
        ("substitute_trainer", {"number": 3, "trainerId": "b"}, {"a": 9, "b": 1}),
        ("substitute_trainer", {"number": 8, "trainerId": "b", "rest": True}, {"a": 6, "b": 4}),
        ("reschedule_lesson", {"number": 3, "date": "2026-12-20", "timeSlot": "17:30"}, {"a": 6, "b": 4}),
        ("transfer_lessons", {"trainerId": "b"}, {"a": 0, "b": 10}),
    ]):  # fmt: skip
        asked = LessonChange(order.purchase_id, f"k-{number}", verb, "ann", "they asked", values)
        said = LessonChangeActivities(engine, lambda: NOW).change_lessons(asked)
        assert said.startswith("done"), said
        assert kept(engine) == loads
    trainers.cancel_allocation(order)
    assert kept(engine) == {"a": 0, "b": 10}, "slots are let go by the next undo"
    trainers.release_trainer(order)
    assert kept(engine) == {"a": 0, "b": 0}


def test_times_held_before_paying_count_once_they_are_paid_for(
    engine: Engine, database_url: str, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    with holder(database_url) as market:
        for name in ("student-1", "student-2"):
            order = build.purchase(engine, f"pay-{name}", student_id=name)
            market.hold(name)
            assert kept(engine) == {"trainer-1": 0}
            if name == "student-1":
                release(engine, value(engine, "SELECT id FROM allocations"), NOW)
                assert kept(engine) == {"trainer-1": 0}
                continue
            trainers.assign_trainer(order)
            assert kept(engine) == {"trainer-1": 10}
            trainers.release_trainer(order)
            assert kept(engine) == {"trainer-1": 0}


def test_lessons_that_begin_leave_it_when_somebody_counts(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)
    for day, left in ((-1, 10), (2, 7), (2, 7), (40, 0)):
        count_begun(engine, FIRST_LESSON + timedelta(days=day))
        assert kept(engine) == {"trainer-1": left}
    trainers.release_trainer(order)
    assert kept(engine) == {"trainer-1": 0}, "what has begun is let go without being counted twice"


def test_whoever_is_assigned_lets_the_loads_follow_time(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    trainers.assign_trainer(build.purchase(engine))
    later = FIRST_LESSON + timedelta(days=3)
    fields = {"startDate": "2027-01-10"}
    order = build.purchase(engine, "pay-2", student_id="student-2", fields=fields, series_start="2027-01-10")
    TrainerActivities(engine, lambda: later).assign_trainer(order)
    assert kept(engine) == {"trainer-1": 6 + 10}
    assert value(engine, "SELECT load_since FROM trainers") == later


def test_one_whom_somebody_is_changing_is_left_and_nobody_waits(engine: Engine, trainers: TrainerActivities) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(engine, name)
        trainers.assign_trainer(build.purchase(engine, f"pay-{name}", student_id=f"s-{name}"))
    with engine.begin() as other:
        other.execute(text("UPDATE trainers SET last_assigned_at = now() WHERE id = 'trainer-1'"))
        assert count_begun(engine, FIRST_LESSON) == 1
    assert kept(engine) == {"trainer-1": 10, "trainer-2": 9}
    assert count_begun(engine, FIRST_LESSON) == 1
    assert kept(engine) == {"trainer-1": 9, "trainer-2": 9}


def test_a_change_under_way_is_added_to_what_was_counted_meanwhile(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    trainers.assign_trainer(build.purchase(engine))
    change = "UPDATE trainer_slots SET status = 'cancelled' WHERE number IN (1, 2)"
    with engine.connect() as counting, ThreadPoolExecutor(1) as pool:
        counting.execute(text("SELECT FROM trainers FOR NO KEY UPDATE"))
        changed = pool.submit(run, engine, change)
        until_blocked(engine)
        counting.execute(text("UPDATE trainers SET load = 9, load_since = '2026-12-01 18:00Z'"))
        counting.commit()
        changed.result(20)
    assert kept(engine) == {"trainer-1": 8}, "lesson 1 had begun and was not counted any more"


def test_lessons_that_change_hands_both_ways_at_once_end_as_they_should(engine: Engine) -> None:
    for name in ("a", "b"):
        build.trainer(engine, name)
    orders = [
        lessons(engine, f"pay-{n}", student_id=f"student-{n}", fields={"timeSlot": f"{10 + n}:00"}) for n in (1, 2)
    ]
    assert kept(engine) == {"a": 10, "b": 10}
    gate = Barrier(2, timeout=20)

    def swap(order: PurchaseOrder, to: str, key: str) -> str:
        gate.wait()
        asked = LessonChange(order.purchase_id, key, "transfer_lessons", "ann", "they asked", {"trainerId": to})
        return LessonChangeActivities(engine, lambda: NOW).change_lessons(asked)

    with ThreadPoolExecutor(2) as pool:
        for turn in range(20):
            to = ("b", "a") if turn % 2 == 0 else ("a", "b")
            said = [pool.submit(swap, order, name, f"k-{turn}") for order, name in zip(orders, to, strict=True)]
            assert all(each.result(30).startswith("done") for each in said)
    assert kept(engine) == {"a": 10, "b": 10}


def test_a_wrong_one_is_found_and_mended(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    trainers.assign_trainer(build.purchase(engine))
    assert mend(engine, NOW) == []
    for wrong in ("load = 3", "load = 11", "load_until = NULL", "load_until = '2026-12-05'"):
        run(engine, f"UPDATE trainers SET {wrong}")  # noqa: S608 -- constants
        assert [row.id for row in rows(engine, WRONG)] == ["trainer-1"]
        assert PruningActivities(engine, lambda: NOW, timedelta(days=90)).prune()["loads"] == 1
        assert kept(engine) == {"trainer-1": 10}
    assert PruningActivities(engine, lambda: NOW, timedelta(days=90)).prune()["loads"] == 0


@pytest.mark.parametrize("why", ["hours", "busy"])
def test_when_the_first_two_hundred_cannot_the_next_one_is_taken(
    engine: Engine, trainers: TrainerActivities, why: str
) -> None:
    order = build.purchase(engine)
    crowd(engine, 200, hours=("06:00", "12:00") if why == "hours" else ("06:00", "22:30"))
    if why == "busy":
        busy(engine)
    build.trainer(engine, "last", last_assigned_at=NOW)
    earlier = build.purchase(engine, "pay-2", student_id="student-2", fields={"timeSlot": "08:00"})
    decide(engine, earlier, "assign_trainer", trainerId="last")
    trainers.assign_trainer(earlier)
    assert kept(engine)["last"] == 10

    assert trainers.assign_trainer(order).trainer_id == "last"
    lost = value(engine, "SELECT lost FROM allocations WHERE purchase_id = :id", id=order.purchase_id)
    assert len(lost) == 200
    assert set(lost.values()) == {
        "has another lesson" if why == "busy" else "not available for lesson 1 (2026-12-01 18:00)"
    }


def test_whoever_is_asked_for_preferred_or_held_is_looked_at_wherever_they_stand(
    engine: Engine, database_url: str, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "z-last", courses=("course-piano", "course-chess"))
    with holder(database_url) as market:
        market.hold(build.student(engine, "holding"))
        crowd(engine, 250)
        asked = build.purchase(engine, "pay-1", student_id="student-1", fields={"timeSlot": "08:00"})
        decide(engine, asked, "assign_trainer", trainerId="z-last")
        preferred = {"timeSlot": "10:00", "preferredTrainerId": "z-last"}
        liked = build.purchase(engine, "pay-2", student_id="student-2", fields=preferred)
        held = build.purchase(engine, "pay-3", student_id="holding")
        for order in (asked, liked, held):
            assert trainers.assign_trainer(order).trainer_id == "z-last"
    assert kept(engine)["z-last"] == 30
    assert value(engine, "SELECT count(*) FROM allocations WHERE status = 'on_hold'") == 0, "the hold was taken over"
    others = build.purchase(engine, "pay-4", student_id="student-4")
    assert trainers.assign_trainer(others).trainer_id == "c-000"
    won = value(engine, "SELECT won FROM allocations WHERE purchase_id = :id", id=others.purchase_id)
    assert (won["lookedAt"], won["candidates"], won["fitting"]) == (200, 251, 200)


def test_who_holds_another_hold_of_the_student_is_no_better_for_it(
    engine: Engine, database_url: str, trainers: TrainerActivities
) -> None:
    """Times that are not those of the purchase: their trainer has no claim, and takes a turn like everybody."""
    build.trainer(engine, "z-last")
    with holder(database_url) as market:
        market.hold(build.student(engine, "student-1"), count=5)
        run(engine, "UPDATE trainers SET last_assigned_at = now()")
        crowd(engine, 200, hours=("06:00", "12:00"))
        build.trainer(engine, "y-better")
        assert trainers.assign_trainer(build.purchase(engine)).trainer_id == "y-better"
