"""create_sessions and cancel_sessions, on a real PostgreSQL (mission rows 79 to 83)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder, SessionsCreated
from domain.refusals import Refused
from tests import build
from tests.build import rows, run, value

SCHEDULED = "SELECT count(*) FROM sessions WHERE status = 'scheduled'"
DONE = "SELECT count(*) FROM purchase_steps WHERE step = 'create_sessions' AND state = 'done'"


@pytest.fixture
def sessions(engine: Engine, clock: Callable[[], datetime]) -> SessionActivities:
    return SessionActivities(engine, clock)


@pytest.fixture
def trainers(engine: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(engine, clock)


@pytest.fixture
def approved(engine: Engine, trainers: TrainerActivities) -> Callable[[int], PurchaseOrder]:
    """A purchase of so many lessons, its allocation approved."""

    def make(count: int = 10) -> PurchaseOrder:
        build.trainer(engine)
        order = build.purchase(engine, session_count=count)
        trainers.assign_trainer(order)
        trainers.approve_allocation(order)
        return order

    return make


def refuse_numbers(engine: Engine, condition: str) -> None:
    """From now on the database lets no session through whose number meets `condition`."""
    run(
        engine,
        "CREATE OR REPLACE FUNCTION refuse_some() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN IF NEW.number {condition} THEN RETURN NULL; END IF; RETURN NEW; END $$",
    )
    run(engine, "CREATE TRIGGER refuse_some BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION refuse_some()")


def refusal(step: Callable[[PurchaseOrder], Any], order: PurchaseOrder) -> Refused:
    with pytest.raises(Refused) as caught:
        step(order)
    return caught.value


@pytest.mark.parametrize("count", [1, 10, 20, 30])
def test_makes_all_lessons_at_the_times_held(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder], count: int
) -> None:
    order = approved(count)

    assert sessions.create_sessions(order) == SessionsCreated("all", count, 0, [])

    same = (
        "SELECT count(*) FROM sessions JOIN trainer_slots AS slot USING (allocation_id, number, local_start, zone)"
        " WHERE starts_at = lower(during) AND ends_at = upper(during) AND sessions.status = 'scheduled'"
        " AND sessions.purchase_id = :purchase"
    )
    assert value(engine, same, purchase=order.purchase_id) == count
    numbers = [row.number for row in rows(engine, "SELECT number FROM sessions ORDER BY number")]
    assert numbers == list(range(1, count + 1))


@pytest.mark.parametrize(
    ("start", "time_slot", "decided"),
    [
        ("2027-03-27", "01:30", {2: ("gap", "2027-03-28T02:30:00", "2027-03-28T01:30:00")}),
        ("2027-10-30", "01:30", {2: ("fold", "2027-10-31T01:30:00", None)}),
        ("2027-03-27", "18:00", {}),
    ],
)
def test_what_the_clocks_did_to_a_lesson_is_stored_with_it(
    engine: Engine, sessions: SessionActivities, trainers: TrainerActivities, start: str, time_slot: str, decided: Any
) -> None:
    build.trainer(engine, hours=("00:00", "23:59:59"))
    fields = {"startDate": start, "timeSlot": time_slot}
    order = build.purchase(engine, session_count=4, fields=fields, series_start=start)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)
    sessions.create_sessions(order)

    for table in ("sessions", "trainer_slots"):
        told = rows(engine, f"SELECT number, clock, local_start, asked_start FROM {table} WHERE clock IS NOT NULL")  # noqa: S608
        assert {
            row.number: (row.clock, row.local_start.isoformat(), row.asked_start and row.asked_start.isoformat())
            for row in told
        } == decided


def test_a_second_do_answers_the_first_result(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)
    first = sessions.create_sessions(order)
    run(engine, "UPDATE students SET timezone = NULL")

    assert sessions.create_sessions(order) == first
    assert value(engine, SCHEDULED) == 10


def test_many_tries_at_once_make_each_lesson_once(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order, gate = approved(30), Barrier(6, timeout=20)

    def one() -> SessionsCreated:
        gate.wait()
        return sessions.create_sessions(order)

    with ThreadPoolExecutor(6) as pool:
        results = [each.result(20) for each in [pool.submit(one) for _ in range(6)]]

    assert results == [SessionsCreated("all", 30, 0, [])] * 6
    assert value(engine, SCHEDULED) == 30


def test_refused_numbers_are_named_and_the_retry_adds_exactly_those(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(20)
    refuse_numbers(engine, "IN (7, 19)")

    refused = refusal(sessions.create_sessions, order)

    assert refused.code == "SESSIONS_PARTIAL"
    assert refused.message == "18 of 20 lessons stand; missing: 7, 19"
    assert refused.facts == {"missing": 2}
    assert (value(engine, SCHEDULED), value(engine, DONE)) == (18, 0)
    assert value(engine, "SELECT status FROM allocations") == "approved"
    assert value(engine, "SELECT count(*) FROM trainer_slots WHERE status = 'held'") == 20

    run(engine, "DROP TRIGGER refuse_some ON sessions")
    assert sessions.create_sessions(order) == SessionsCreated("all", 2, 18, [])
    assert (value(engine, SCHEDULED), value(engine, DONE)) == (20, 1)


def test_when_no_lesson_can_be_made_the_allocation_stays_as_it_is(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)
    before = rows(engine, "SELECT * FROM allocations")
    refuse_numbers(engine, "> 0")

    with capture_logs() as logs:
        refused = refusal(sessions.create_sessions, order)

    assert (refused.code, refused.facts) == ("SESSIONS_FAILED", {"missing": 10})
    assert rows(engine, "SELECT * FROM allocations") == before
    assert value(engine, DONE) == 0
    assert logs[-1]["event"] == "sessions_incomplete"
    assert logs[-1]["allocation_id"] == before[0].id


def test_a_slot_that_is_no_longer_held_is_a_missing_lesson(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)
    run(engine, "UPDATE trainer_slots SET status = 'cancelled' WHERE number = 4")

    assert refusal(sessions.create_sessions, order).message == "9 of 10 lessons stand; missing: 4"


@pytest.mark.parametrize(
    ("breakage", "code"),
    [
        ("UPDATE allocations SET status = 'proposed'", "ALLOCATION_NOT_APPROVED"),
        ("UPDATE allocations SET status = 'cancelled'", "ALLOCATION_NOT_APPROVED"),
        ("UPDATE allocations SET metadata = metadata - 'sessionCount'", "SESSION_COUNT_MISSING"),
        ("""UPDATE allocations SET metadata = metadata || '{"sessionCount": "10"}'""", "SESSION_COUNT_MISSING"),
        ("""UPDATE allocations SET metadata = metadata || '{"sessionCount": true}'""", "SESSION_COUNT_MISSING"),
        ("""UPDATE allocations SET metadata = metadata || '{"sessionCount": 0}'""", "SESSION_COUNT_MISSING"),
        ("UPDATE students SET timezone = NULL", "STUDENT_PROFILE_MISSING"),
        ("UPDATE students SET latitude = 0, longitude = 0", "GPS_INVALID"),
        ("UPDATE students SET latitude = NULL", "GPS_INVALID"),
        ("UPDATE students SET latitude = 90.5", "GPS_INVALID"),
    ],
)
def test_a_missing_prerequisite_is_named_and_nothing_is_made(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder], breakage: str, code: str
) -> None:
    order = approved(10)
    run(engine, breakage)

    assert refusal(sessions.create_sessions, order).code == code
    assert value(engine, "SELECT count(*) FROM sessions") == 0
    assert value(engine, DONE) == 0


def test_undo_cancels_what_has_not_begun_and_keeps_the_past(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)
    sessions.create_sessions(order)
    first = value(engine, "SELECT min(starts_at) FROM sessions")
    after_three = SessionActivities(engine, lambda: first + timedelta(days=2))

    assert after_three.cancel_sessions(order).changed
    assert after_three.cancel_sessions(order).changed, "a second undo gives the same answer"

    kept = [row.number for row in rows(engine, "SELECT number FROM sessions WHERE status = 'scheduled' ORDER BY 1")]
    assert kept == [1, 2, 3], "lesson 3 begins this very moment"
    assert refusal(sessions.create_sessions, order).code == "ALREADY_MADE_WHOLE"


def test_undo_alone_leaves_a_tombstone_that_refuses_a_late_do(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)

    assert not sessions.cancel_sessions(order).changed
    assert refusal(sessions.create_sessions, order).code == "ALREADY_MADE_WHOLE"
    assert value(engine, "SELECT count(*) FROM sessions") == 0


def test_undo_takes_back_the_lessons_of_a_partial_try_too(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)
    refuse_numbers(engine, "= 7")
    refusal(sessions.create_sessions, order)

    assert sessions.cancel_sessions(order).changed
    assert value(engine, SCHEDULED) == 0


def test_a_partial_try_that_slips_past_its_undo_ends_with_the_allocation(
    engine: Engine, sessions: SessionActivities, trainers: TrainerActivities,
    approved: Callable[[int], PurchaseOrder],
) -> None:  # fmt: skip
    order = approved(10)
    refuse_numbers(engine, "= 7")
    refusal(sessions.create_sessions, order)  # as if it had committed just after cancel_sessions

    assert trainers.cancel_allocation(order).changed
    assert value(engine, SCHEDULED) == 0


def test_the_counts_are_logged_with_the_allocations_id(
    engine: Engine, sessions: SessionActivities, approved: Callable[[int], PurchaseOrder]
) -> None:
    order = approved(10)

    with capture_logs() as logs:
        sessions.create_sessions(order)

    assert [log["event"] for log in logs] == ["sessions_created"]
    made = logs[-1]
    assert (made["sessions"], made["created"], made["existing"]) == (10, list(range(1, 11)), 0)
    assert made["allocation_id"] == value(engine, "SELECT id FROM allocations")
    assert made["payment_id"] == "pay-1"
