"""create_sessions with an operator's wishes meets others: a clash changes nothing, and each lesson is made once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, text

from activities.replanning import replan
from activities.sessions import SessionActivities
from domain.purchase import PurchaseOrder, SessionsCreated
from tests import build
from tests.activities.deciding import decide
from tests.activities.test_decided_steps import meanwhile
from tests.activities.test_ledger_races import PATIENCE, until_waiting
from tests.activities.test_replanning import approved, at, lessons, refusal
from tests.activities.world import written
from tests.build import NOW, run, value
from tests.roles import owner_of


@pytest.fixture
def sessions(engine: Engine, clock: Callable[[], datetime]) -> SessionActivities:
    return SessionActivities(engine, clock)


@pytest.fixture
def order(engine: Engine) -> PurchaseOrder:
    """Ten lessons held and approved, daily at 18:00 from 1 December on."""
    build.trainer(engine)
    return approved(engine)


@pytest.mark.parametrize(
    ("student", "why"),
    [("student-1", "lesson 3 (2026-12-03 20:00) overlaps one the student already has"),
     ("student-2", "trainer-1 cannot give these lessons: has another lesson")],
)  # fmt: skip
def test_a_clash_is_named_and_nothing_is_changed(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder, student: str, why: str
) -> None:
    build.trainer(engine, "trainer-2", courses=("course-chess",))
    course = "course-chess" if student == "student-1" else "course-piano"
    late = {"timeSlot": "20:30", "startDate": "2026-12-03"}
    approved(
        engine, "pay-2", student_id=student, item_id=course, session_count=10, fields=late, series_start="2026-12-03"
    )
    before = written(engine)
    decide(engine, order, "create_sessions", timeSlot="20:00", count=12)
    after_deciding = value(engine, "SELECT decisions FROM purchase_starts WHERE payment_id = 'pay-1'")
    refused = refusal(sessions.create_sessions, order)
    assert (refused.code, refused.message, refused.facts) == ("SESSIONS_FAILED", why, {"missing": 12})
    run(engine, "UPDATE purchase_starts SET decisions = 0")
    assert (written(engine), after_deciding) == (before, 1)
    decide(engine, order, "create_sessions")
    assert sessions.create_sessions(order).created == 10, "the wish is given up by asking for none"


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("INSERT INTO trainer_blocked_days VALUES ('trainer-1', '2026-12-12')", "blocked on 2026-12-12 (lesson 12)"),
        ("DELETE FROM trainer_courses", "trainer-1 no longer teaches course-piano"),
    ],
)
def test_a_trainer_who_cannot_give_the_new_lessons_is_named(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder, trouble: str, why: str
) -> None:
    run(engine, trouble)
    decide(engine, order, "create_sessions", count=12)
    refused = refusal(sessions.create_sessions, order)
    assert refused.code == "SESSIONS_FAILED"
    assert why in refused.message


def test_the_database_has_the_last_word_on_a_clash(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    # A fault that only the constraint sees: lesson 5 begins a day too early.
    decide(engine, order, "create_sessions", timeSlot="20:00")
    run(
        engine,
        "CREATE FUNCTION overlap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.number = 5 AND NEW.local_start::time = '20:00' THEN"
        " NEW.during = tstzrange(lower(NEW.during) - interval '1 day', upper(NEW.during)); END IF; RETURN NEW; END $$",
    )
    run(engine, "CREATE TRIGGER overlap BEFORE INSERT ON trainer_slots FOR EACH ROW EXECUTE FUNCTION overlap()")
    before = written(engine)
    refused = refusal(sessions.create_sessions, order)
    assert refused.code == "SESSIONS_FAILED"
    assert "conflicts with existing key" in refused.message
    assert written(engine) == before


@pytest.mark.parametrize("wish", [{"count": 7}, {"timeSlot": "17:00"}, {"count": 12, "timeSlot": "17:00"}])
def test_many_tries_at_once_plan_once_and_make_each_lesson_once(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder, wish: dict[str, Any]
) -> None:
    gate = Barrier(6, timeout=20)

    def one() -> SessionsCreated:
        gate.wait()
        return sessions.create_sessions(order)

    decide(engine, order, "create_sessions", **wish)
    with ThreadPoolExecutor(6) as pool:
        made = [each.result(20) for each in [pool.submit(one) for _ in range(6)]]
    count, hour = wish.get("count", 10), 17 if "timeSlot" in wish else 18
    assert made == [SessionsCreated("all", count, 0, [])] * 6
    assert lessons(engine) == {number: at(number, hour) for number in range(1, count + 1)}


@pytest.mark.parametrize("wish", [{"count": 12}, {"timeSlot": "17:00"}])
def test_a_try_that_read_the_old_plan_makes_nothing_of_it(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder, wish: dict[str, Any]
) -> None:
    def another_try_plans_anew() -> None:
        decide(engine, order, "create_sessions", **wish)
        replan(engine, order, NOW)

    with meanwhile(engine, "INSERT INTO sessions", another_try_plans_anew):
        made = sessions.create_sessions(order)
    count, hour = wish.get("count", 10), 17 if "timeSlot" in wish else 18
    assert made == SessionsCreated("all", count, 0, [])
    assert lessons(engine) == {number: at(number, hour) for number in range(1, count + 1)}


def test_a_new_plan_waits_for_lessons_being_made_and_moves_them_too(
    engine: Engine, sessions: SessionActivities, order: PurchaseOrder
) -> None:
    decide(engine, order, "create_sessions", timeSlot="17:00")
    with ThreadPoolExecutor(1) as pool, owner_of(engine).connect() as making:
        with making.begin():
            # A partial try of the old plan, not yet committed.
            making.execute(text("SELECT FROM allocations FOR SHARE"))
            making.execute(
                text("""
                INSERT INTO sessions SELECT allocation_id, number, :purchase, lower(during), upper(during), local_start,
                  zone, 'scheduled', now() FROM trainer_slots WHERE number = 4
            """),
                {"purchase": order.purchase_id},
            )
            planning = pool.submit(sessions.create_sessions, order)
            until_waiting(engine, planning)
        assert planning.result(PATIENCE) == SessionsCreated("all", 9, 1, [])
    assert lessons(engine) == {number: at(number, 17) for number in range(1, 11)}
