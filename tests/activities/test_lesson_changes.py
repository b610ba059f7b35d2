"""Lessons that stand get another time or another trainer: once per request key, all or nothing, never one that has begun."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.lesson_changes import LessonChangeActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.lesson_changes import LessonChange
from domain.purchase import PurchaseOrder
from tests import build
from tests.activities.world import written
from tests.build import NOW, rows, run, value

# Who gives which lesson, as a reader of the database would ask.
GIVEN = """
SELECT session.number, slot.trainer_id, session.starts_at FROM sessions AS session
JOIN trainer_slots AS slot USING (allocation_id, number)
WHERE session.status = 'scheduled' AND slot.status = 'held'
  AND slot.during = tstzrange(session.starts_at, session.ends_at, '[)') ORDER BY number
"""
HISTORY = "SELECT number, trainer_id, lower(during) AS starts_at FROM slot_history ORDER BY id"
AFTER_THREE = datetime(2026, 12, 3, 20, 0, tzinfo=UTC)

VERSION = "SELECT version FROM learning_versions WHERE student_id = 'student-1'"


def at(day: int, hour: int = 18, minute: int = 0) -> datetime:
    return datetime(2026, 12, day, hour, minute, tzinfo=UTC)


def lessons(engine: Engine, payment_id: str = "pay-1", **bought: Any) -> PurchaseOrder:
    """Ten lessons that stand, daily at 18:00 from 1 December on."""
    order = build.purchase(engine, payment_id, **bought)
    trainers = TrainerActivities(engine, lambda: NOW)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)
    SessionActivities(engine, lambda: NOW).create_sessions(order)
    return order


@pytest.fixture
def order(engine: Engine) -> PurchaseOrder:
    build.trainer(engine)
    made = lessons(engine)
    build.trainer(engine, "trainer-2")
    return made


Change = Callable[..., str]


@pytest.fixture
def change(engine: Engine, order: PurchaseOrder) -> Change:
    def make(verb: str, key: str = "k-1", now: datetime = NOW, of: PurchaseOrder = order, **values: Any) -> str:
        asked = LessonChange(of.purchase_id, key, verb, "ann", "they asked", values)
        return LessonChangeActivities(engine, lambda: now).change_lessons(asked)

    return make


RESCHEDULED = {"number": 3, "date": "2026-12-20", "timeSlot": "17:30"}
NEVER: list[tuple[str, dict[str, Any]]] = [
    *[("reschedule_lesson", RESCHEDULED | {"date": day})
      for day in ("9999-12-31", "0001-01-01", "2201-01-01", "2026-02-30", "soon", "2026-12-20\0", None, 5)],
    *[("reschedule_lesson", RESCHEDULED | {"timeSlot": slot}) for slot in ("24:00", "6pm", None, "18:00\n")],
    *[("reschedule_lesson", RESCHEDULED | {"minutes": minutes}) for minutes in (0, -1, 10**12, "60", True, 1.5)],
    *[("substitute_trainer", {"number": 3, "trainerId": trainer}) for trainer in ("", "a\0b", "\ud800", None, "t" * 9000)],
    *[("substitute_trainer", {"number": number, "trainerId": "trainer-2"}) for number in (0, 1001, 10**30, None, "3")],
    ("transfer_lessons", {}),
    ("reschedule_lesson", {}),
    ("make_coffee", {}),
]  # fmt: skip


def test_what_can_never_be_is_refused_at_its_first_try(engine: Engine, change: Change) -> None:
    for verb, values in NEVER:
        assert change(verb, **values).startswith("refused: INVALID_ACT: "), (verb, values)
    for signed in ({"key": "k\0"}, {"key": "k" * 10_000}, {"key": " "}):
        assert change("transfer_lessons", **signed, trainerId="trainer-2").startswith("refused: INVALID_ACT: ")
    assert given(engine) == as_planned()


def given(engine: Engine) -> dict[int, tuple[str, datetime]]:
    return {row.number: (row.trainer_id, row.starts_at) for row in rows(engine, GIVEN)}


def as_planned() -> dict[int, tuple[str, datetime]]:
    return {number: ("trainer-1", at(number)) for number in range(1, 11)}


def changed(engine: Engine) -> list[Any]:
    return rows(engine, "SELECT key, type, data FROM outbox WHERE type = 'LESSONS_CHANGED' ORDER BY id")


def test_one_lesson_gets_another_time(engine: Engine, order: PurchaseOrder, change: Change) -> None:
    outcome = change("reschedule_lesson", number=3, date="2026-12-20", timeSlot="17:30")

    assert outcome == "done: lesson 3 is at 2026-12-20 17:30 in Europe/London"
    assert given(engine) == as_planned() | {3: ("trainer-1", at(20, 17, 30))}
    assert [tuple(row) for row in rows(engine, HISTORY)] == [(3, "trainer-1", at(3))]
    revisions = {row.number: row.revision for row in rows(engine, "SELECT number, revision FROM sessions")}
    assert revisions.pop(3) > 0
    assert set(revisions.values()) == {0}


def test_the_act_is_on_record_told_to_others_and_the_learning_page_is_new(
    engine: Engine, order: PurchaseOrder, change: Change
) -> None:
    read: int = value(engine, VERSION)
    change("reschedule_lesson", number=3, date="2026-12-20", timeSlot="17:30")

    [act] = rows(engine, "SELECT * FROM operator_acts")
    assert (act.request_key, act.verb, act.actor, act.reason) == ("k-1", "reschedule_lesson", "ann", "they asked")
    assert [each["local"] for each in act.before["lessons"]] == ["2026-12-03T18:00"]
    assert [each["local"] for each in act.after["lessons"]] == ["2026-12-20T17:30"]
    assert act.outcome.startswith("done: ")
    [event] = changed(engine)
    assert event.key.startswith(f"purchase:{order.purchase_id}:LESSONS_CHANGED")
    assert event.data["studentId"] == "student-1"
    assert event.data["lessons"] == act.after["lessons"]
    assert value(engine, VERSION) == read + 1


def test_a_lesson_moved_into_a_gap_says_so(engine: Engine, order: PurchaseOrder, change: Change) -> None:
    run(engine, "UPDATE trainer_availability SET starts = '00:00'")
    assert change("reschedule_lesson", number=3, date="2027-03-28", timeSlot="01:30").startswith("done")
    [row] = rows(engine, "SELECT clock, local_start, asked_start FROM sessions WHERE number = 3")
    assert (row.clock, row.local_start.hour, row.asked_start.hour) == ("gap", 2, 1)


def test_a_longer_lesson_is_as_long_as_asked(engine: Engine, order: PurchaseOrder, change: Change) -> None:
    change("reschedule_lesson", number=3, date="2026-12-20", timeSlot="17:30", minutes=90)
    assert value(engine, "SELECT ends_at - starts_at FROM sessions WHERE number = 3") == timedelta(minutes=90)


def test_a_substitute_gives_one_lesson(engine: Engine, order: PurchaseOrder, change: Change) -> None:
    outcome = change("substitute_trainer", number=4, trainerId="trainer-2")

    assert outcome == "done: lesson 4 is given by trainer-2"
    assert given(engine) == as_planned() | {4: ("trainer-2", at(4))}
    assert value(engine, "SELECT trainer_id FROM allocations") == "trainer-1"
    assert value(engine, "SELECT revision FROM sessions WHERE number = 4") > 0


def test_a_substitute_gives_the_rest(engine: Engine, order: PurchaseOrder, change: Change) -> None:
    change("substitute_trainer", number=8, trainerId="trainer-2", rest=True)
    assert given(engine) == as_planned() | {number: ("trainer-2", at(number)) for number in (8, 9, 10)}


def test_a_transfer_takes_what_is_to_come_and_who_gave_the_rest_stays_readable(
    engine: Engine, order: PurchaseOrder, change: Change
) -> None:
    outcome = change("transfer_lessons", now=AFTER_THREE, trainerId="trainer-2")

    assert outcome == "done: 7 lessons are given by trainer-2, from lesson 4 on"
    expected = as_planned() | {number: ("trainer-2", at(number)) for number in range(4, 11)}
    assert given(engine) == expected
    assert value(engine, "SELECT trainer_id FROM allocations") == "trainer-2"
    assert {row.trainer_id for row in rows(engine, HISTORY)} == {"trainer-1"}
    assert value(engine, "SELECT last_assigned_at FROM trainers WHERE id = 'trainer-2'") == AFTER_THREE


def test_lessons_change_also_when_the_purchase_is_completed(
    engine: Engine, order: PurchaseOrder, change: Change
) -> None:
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = now(), refunded = false")
    assert change("substitute_trainer", number=4, trainerId="trainer-2").startswith("done")


def test_a_request_key_changes_once_and_is_answered_the_same(
    engine: Engine, order: PurchaseOrder, change: Change
) -> None:
    first = change("reschedule_lesson", number=3, date="2026-12-20", timeSlot="17:30")
    before = written(engine)
    assert change("reschedule_lesson", number=3, date="2026-12-20", timeSlot="17:30") == first
    assert change("reschedule_lesson", number=4, date="2026-12-21", timeSlot="17:30").startswith("refused: KEY_REUSED")
    assert written(engine) == before
    assert value(engine, "SELECT count(*) FROM operator_acts") == 1


def test_many_tries_of_one_change_at_once_make_it_once(engine: Engine, order: PurchaseOrder, change: Change) -> None:
    gate = Barrier(6, timeout=20)

    def one(_: int) -> str:
        gate.wait()
        return change("substitute_trainer", number=4, trainerId="trainer-2")

    with ThreadPoolExecutor(6) as pool:
        outcomes = set(pool.map(one, range(6)))
    assert outcomes == {"done: lesson 4 is given by trainer-2"}
    assert len(changed(engine)) == 1
    assert len(rows(engine, HISTORY)) == 1


TAKEN = "2026-12-20"


@pytest.mark.parametrize(
    ("verb", "values", "harm", "code"),
    [
        ("reschedule_lesson", {"number": 3, "date": "2026-12-04", "timeSlot": "18:30"}, "", "SCHEDULE_CONFLICT"),
        ("reschedule_lesson", {"number": 3, "date": TAKEN, "timeSlot": "23:00"}, "", "TRAINER_NOT_FREE"),
        (
            "reschedule_lesson", {"number": 3, "date": TAKEN, "timeSlot": "18:00"},
            "INSERT INTO trainer_blocked_days VALUES ('trainer-1', '2026-12-20')", "TRAINER_NOT_FREE",
        ),
        (
            "reschedule_lesson", {"number": 3, "date": TAKEN, "timeSlot": "18:00"},
            "INSERT INTO holidays VALUES ('2026-12-20')", "SCHEDULE_CONFLICT",
        ),
        ("reschedule_lesson", {"number": 3, "date": "2026-11-20", "timeSlot": "18:00"}, "", "WRONG_STAGE"),
        ("reschedule_lesson", {"number": 11, "date": TAKEN, "timeSlot": "18:00"}, "", "LESSON_NOT_FOUND"),
        (
            "reschedule_lesson", {"number": 3, "date": TAKEN, "timeSlot": "18:00"},
            "UPDATE sessions SET status = 'cancelled' WHERE number = 3", "LESSON_NOT_FOUND",
        ),
        ("substitute_trainer", {"number": 3, "trainerId": "trainer-1"}, "", "WRONG_STAGE"),
        ("substitute_trainer", {"number": 3, "trainerId": "nobody"}, "", "TRAINER_NOT_FREE"),
        (
            "substitute_trainer", {"number": 3, "trainerId": "trainer-2"},
            "DELETE FROM trainer_courses WHERE trainer_id = 'trainer-2'", "TRAINER_NOT_FREE",
        ),
        (
            "transfer_lessons", {"trainerId": "trainer-2"},
            "INSERT INTO trainer_blocked_days VALUES ('trainer-2', '2026-12-09')", "TRAINER_NOT_FREE",
        ),
        ("transfer_lessons", {"trainerId": "trainer-2"}, "UPDATE allocations SET status = 'proposed'", "WRONG_STAGE"),
        (
            "transfer_lessons", {"trainerId": "trainer-2"},
            "UPDATE student_course_purchases SET status = 'voided', voided_at = now()", "WRONG_STAGE",
        ),
        ("transfer_lessons", {"trainerId": "trainer-2"}, "UPDATE students SET latitude = NULL", "GPS_INVALID"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name_and_changes_nothing_but_the_audit(
    engine: Engine, order: PurchaseOrder, change: Change, verb: str, values: dict[str, Any], harm: str, code: str
) -> None:
    if harm:
        run(engine, harm)
    before = written(engine)

    outcome = change(verb, **values)

    assert outcome.startswith(f"refused: {code}: "), outcome
    assert written(engine) == before
    assert value(engine, "SELECT outcome FROM operator_acts") == outcome
    assert rows(engine, HISTORY) == []


@pytest.mark.parametrize(
    ("verb", "values"),
    [
        ("reschedule_lesson", {"date": "2026-12-20", "timeSlot": "18:00"}),
        ("substitute_trainer", {"trainerId": "trainer-2"}),
        ("substitute_trainer", {"trainerId": "trainer-2", "rest": True}),
    ],
)
def test_a_lesson_that_has_begun_is_never_touched(
    engine: Engine, order: PurchaseOrder, change: Change, verb: str, values: dict[str, Any]
) -> None:
    before = written(engine)
    assert change(verb, now=at(3), number=3, **values).startswith("refused: LESSON_BEGUN: "), "it begins this moment"
    assert change(verb, key="k-2", now=at(3, 17, 59), number=3, **values).startswith("done")
    assert written(engine) != before


@pytest.fixture
def another(engine: Engine, order: PurchaseOrder) -> PurchaseOrder:
    """Another student's ten lessons at the same times, given by trainer-2."""
    return lessons(engine, "pay-2", student_id="student-2")


def test_a_trainer_who_is_taken_for_one_lesson_takes_none(
    engine: Engine, another: PurchaseOrder, change: Change
) -> None:
    before = written(engine)
    assert change("transfer_lessons", trainerId="trainer-2").startswith("refused: TRAINER_NOT_FREE: ")
    assert written(engine) == before


def test_two_who_want_the_same_hour_of_a_trainer_are_told_apart_by_the_constraint(
    engine: Engine, order: PurchaseOrder, change: Change
) -> None:
    build.trainer(engine, "trainer-3")
    run(engine, "UPDATE trainers SET last_assigned_at = now() WHERE id = 'trainer-2'")
    other = lessons(engine, "pay-2", student_id="student-2")  # with trainer-3, at the same times
    gate = Barrier(2, timeout=20)

    def one(of: PurchaseOrder) -> str:
        gate.wait()
        return change("substitute_trainer", of=of, number=5, trainerId="trainer-2")

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(outcome.split(":")[0] for outcome in pool.map(one, (order, other)))
    assert outcomes == ["done", "refused"]
    assert value(engine, "SELECT count(*) FROM trainer_slots WHERE trainer_id = 'trainer-2' AND status = 'held'") == 1


def test_the_constraint_alone_refuses_a_time_that_nobody_looked_at(
    engine: Engine, order: PurchaseOrder, change: Change
) -> None:
    """A writer that takes no locks has put the trainer elsewhere between the look and the hold."""
    run(
        engine,
        "CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF OLD.status = 'cancelled' THEN"
        " INSERT INTO trainer_slots SELECT allocation_id, 99, NEW.trainer_id, 'student-9', NEW.during, local_start, zone, 'held'"
        " FROM trainer_slots WHERE number = 1; END IF; RETURN NEW; END $$",
    )
    build.student(engine, "student-9")
    run(engine, "CREATE TRIGGER elsewhere BEFORE UPDATE ON trainer_slots FOR EACH ROW EXECUTE FUNCTION elsewhere()")
    before = written(engine)
    assert change("substitute_trainer", number=5, trainerId="trainer-2").startswith("refused: TRAINER_NOT_FREE: ")
    assert written(engine) == before
