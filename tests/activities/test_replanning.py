"""create_sessions makes the lessons an operator asked for instead of those held: all or nothing, none twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder, SessionsCreated
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide
from tests.activities.test_sessions import refuse_numbers
from tests.activities.world import written
from tests.build import NOW, rows, run, value

LESSONS = "SELECT number, starts_at FROM sessions WHERE status = 'scheduled' ORDER BY number"
HELD = "SELECT number, lower(during) AS starts_at FROM trainer_slots WHERE status = 'held' ORDER BY number"
AFTER_THREE = datetime(2026, 12, 3, 20, 0, tzinfo=UTC)


def at(day: int, hour: int = 18, *, month: int = 12) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


@pytest.fixture
def sessions(engine: Engine, clock: Callable[[], datetime]) -> SessionActivities:
    return SessionActivities(engine, clock)


@pytest.fixture
def order(engine: Engine) -> PurchaseOrder:
    """Ten lessons held and approved, daily at 18:00 from 1 December on."""
    build.trainer(engine)
    return approved(engine)


def approved(engine: Engine, payment_id: str = "pay-1", **bought: Any) -> PurchaseOrder:
    order = build.purchase(engine, payment_id, **bought)
    trainers = TrainerActivities(engine, lambda: NOW)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)
    return order


def refusal(step: Callable[[PurchaseOrder], Any], order: PurchaseOrder) -> Refused:
    with pytest.raises(Refused) as caught:
        step(order)
    return caught.value


def lessons(engine: Engine) -> dict[int, datetime]:
    """Number and start of the lessons that are on; each at its slot, and no slot held for nothing."""
    assert rows(engine, LESSONS) == rows(engine, HELD)
    return {row.number: row.starts_at for row in rows(engine, LESSONS)}


@pytest.mark.parametrize("count", [1, 5, 10, 14])
def test_another_count_holds_and_makes_exactly_so_many(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder, count: int
) -> None:
    decide(engine, order, "create_sessions", count=count)
    assert sessions.create_sessions(order) == SessionsCreated("all", count, 0, [])
    assert lessons(engine) == {number: at(number) for number in range(1, count + 1)}
    [row] = rows(engine, "SELECT session_count, session_count_source, metadata, series_start FROM purchases")
    assert (row.session_count, row.session_count_source) == (count, "sessionCount")
    assert row.series_start == date(2026, 12, 1)
    assert value(engine, "SELECT metadata -> 'sessionCount' FROM allocations") == count


def test_another_schedule_moves_every_lesson_and_all_who_tell_of_it(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    asked = {"startDate": "2026-12-07", "timeSlot": "17:00", "scheduleType": "weekdays", "sessionDuration": 90}
    decide(engine, order, "create_sessions", "k-7", count=6, **asked)
    assert sessions.create_sessions(order).created == 6
    days = (7, 8, 9, 10, 11, 14)
    assert lessons(engine) == {number: at(day, 17) for number, day in enumerate(days, start=1)}
    [minutes] = rows(engine, "SELECT DISTINCT ends_at - starts_at FROM sessions")[0]
    assert minutes == timedelta(minutes=90)
    [row] = rows(engine, "SELECT metadata, metadata_sources, series_start FROM purchases")
    assert row.metadata | asked == row.metadata
    assert row.metadata_sources["timeSlot"] == "admin"
    assert row.series_start == date(2026, 12, 7)
    told = value(engine, "SELECT metadata FROM allocations")
    assert (told["timeSlot"], told["date"], told["sessionCount"]) == ("17:00", "2026-12-07", 6)
    assert told["schedule"] == {"timeSlot": "17:00", "date": "2026-12-07"}
    assert told["plannedBy"] == "k-7"


def test_a_start_that_has_passed_moves_to_tomorrow_with_a_warning(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    decide(engine, order, "create_sessions", startDate="2026-11-01")
    sessions.create_sessions(order)
    assert lessons(engine)[1] == at(22, month=11)
    assert any("2026-11-01 has passed" in warning for warning in value(engine, "SELECT warnings FROM purchases"))


def test_a_decision_without_wishes_makes_what_is_held(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    decide(engine, order, "create_sessions", count=None)
    assert sessions.create_sessions(order).created == 10
    assert "plannedBy" not in value(engine, "SELECT metadata FROM allocations")


def test_a_second_do_answers_the_first_result_and_plans_no_more(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    decide(engine, order, "create_sessions", count=4)
    first = sessions.create_sessions(order)
    after = written(engine)
    assert sessions.create_sessions(order) == first
    assert written(engine) == after


def test_lessons_given_stay_and_the_others_are_planned_after_them(engine: Engine, order: PurchaseOrder) -> None:
    refuse_numbers(engine, "IN (2, 9)")
    refusal(SessionActivities(engine, lambda: NOW).create_sessions, order)
    run(engine, "DROP TRIGGER refuse_some ON sessions")
    decide(engine, order, "create_sessions", timeSlot="19:00", count=6)
    made = SessionActivities(engine, lambda: AFTER_THREE).create_sessions(order)
    assert (made.created, made.existing) == (1, 5)
    assert lessons(engine) == {1: at(1), 3: at(3), 2: at(4, 19), 4: at(5, 19), 5: at(6, 19), 6: at(7, 19)}
    assert value(engine, "SELECT count(*) FROM sessions WHERE status = 'cancelled'") == 3, "numbers 7, 8 and 10"


def test_a_missing_lesson_whose_time_is_over_is_given_at_the_next_free_time_of_the_series(
    engine: Engine, order: PurchaseOrder
) -> None:
    refuse_numbers(engine, "= 2")
    refusal(SessionActivities(engine, lambda: NOW).create_sessions, order)
    run(engine, "DROP TRIGGER refuse_some ON sessions")
    decide(engine, order, "create_sessions", count=4)
    SessionActivities(engine, lambda: AFTER_THREE).create_sessions(order)
    assert lessons(engine) == {1: at(1), 3: at(3), 2: at(4), 4: at(5)}


def test_there_cannot_be_fewer_lessons_than_have_begun(engine: Engine, order: PurchaseOrder) -> None:
    refuse_numbers(engine, "= 9")
    refusal(SessionActivities(engine, lambda: NOW).create_sessions, order)
    decide(engine, order, "create_sessions", count=2)
    before = written(engine)
    refused = refusal(SessionActivities(engine, lambda: AFTER_THREE).create_sessions, order)
    assert refused.code == "SESSIONS_FAILED"
    assert "lesson 3 has begun" in refused.message
    assert written(engine) == before


def test_as_many_as_have_begun_is_the_end_of_it(engine: Engine, order: PurchaseOrder) -> None:
    refuse_numbers(engine, "= 9")
    refusal(SessionActivities(engine, lambda: NOW).create_sessions, order)
    decide(engine, order, "create_sessions", count=3)
    assert SessionActivities(engine, lambda: AFTER_THREE).create_sessions(order) == SessionsCreated("all", 0, 3, [])
    assert lessons(engine) == {1: at(1), 2: at(2), 3: at(3)}


def test_fewer_and_then_more_again_leaves_no_gap(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    refuse_numbers(engine, "= 2")
    for count in (10, 4, 8):
        decide(engine, order, "create_sessions", count=count)
        assert refusal(sessions.create_sessions, order).facts == {"missing": 1}
    run(engine, "DROP TRIGGER refuse_some ON sessions")
    assert sessions.create_sessions(order) == SessionsCreated("all", 1, 7, [])
    assert lessons(engine) == {number: at(number) for number in range(1, 9)}


@pytest.mark.parametrize(
    ("breakage", "code"),
    [
        ("UPDATE allocations SET status = 'proposed'", "ALLOCATION_NOT_APPROVED"),
        ("UPDATE students SET timezone = NULL", "STUDENT_PROFILE_MISSING"),
        ("UPDATE students SET latitude = NULL", "GPS_INVALID"),
        ("UPDATE student_course_purchases SET metadata = metadata - 'timeSlot'", "METADATA_INCOMPLETE"),
    ],
)
def test_what_lessons_need_is_needed_here_too(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder, breakage: str, code: str
) -> None:
    decide(engine, order, "create_sessions", count=5)
    run(engine, breakage)
    before = written(engine)
    assert refusal(sessions.create_sessions, order).code == code
    assert written(engine) == before


def test_a_wish_for_a_count_mends_an_allocation_that_has_lost_its_own(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    run(engine, "UPDATE allocations SET metadata = metadata - 'sessionCount'")
    assert refusal(sessions.create_sessions, order).code == "SESSION_COUNT_MISSING"
    decide(engine, order, "create_sessions", count=10)
    assert sessions.create_sessions(order).created == 10


def test_undo_takes_back_lessons_planned_anew(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    decide(engine, order, "create_sessions", count=12, timeSlot="17:00")
    sessions.create_sessions(order)
    trainers = TrainerActivities(engine, lambda: NOW)
    assert sessions.cancel_sessions(order).changed
    assert trainers.cancel_allocation(order).changed
    assert trainers.release_trainer(order).changed
    assert lessons(engine) == {}
    assert refusal(sessions.create_sessions, order).code == "ALREADY_MADE_WHOLE"
