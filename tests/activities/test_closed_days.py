"""A day closed later moves the lessons that stand on it, says so, and loses none (spec section 10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import Engine

from activities.closed_days import StrandedActivities
from domain.purchase import PurchaseOrder
from tests import build
from tests.activities.test_lesson_changes import AFTER_THREE, as_planned, at, given, lessons
from tests.activities.world import written
from tests.build import NOW, rows, run, value

SAID = "SELECT verb, actor, reason, before, after, outcome FROM operator_acts ORDER BY acted_at, request_key"


@pytest.fixture
def order(engine: Engine) -> PurchaseOrder:
    """Ten lessons of trainer-1, daily at 18:00 from 1 December on."""
    build.trainer(engine)
    return lessons(engine)


@pytest.fixture
def sweep(engine: Engine) -> Callable[..., list[str]]:
    """Finds and moves, as the workflow does; what became of each purchase."""

    def run_once(now: datetime = NOW) -> list[str]:
        stranded = StrandedActivities(engine, lambda: now)
        found: list[str] = []
        outcomes: list[str] = []
        while page := stranded.find_stranded_lessons(found[-1] if found else ""):
            found += page
            outcomes += [stranded.move_stranded_lessons(purchase_id) for purchase_id in page]
        return outcomes

    return run_once


def block(engine: Engine, *days: int, trainer: str = "trainer-1") -> None:
    for day in days:
        run(engine, f"INSERT INTO trainer_blocked_days VALUES ('{trainer}', '2026-12-{day:02}')")  # noqa: S608


def test_lessons_of_a_blocked_day_go_to_the_next_days_of_their_series_that_are_free(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    block(engine, 4, 6, 11)

    [outcome] = sweep()

    assert given(engine) == as_planned() | {4: ("trainer-1", at(12)), 6: ("trainer-1", at(13))}
    moved = "lesson 4 of 2026-12-04 18:00 moved to 2026-12-12 18:00: trainer-1 is blocked on 2026-12-04"
    assert outcome.startswith(moved)
    [act] = rows(engine, SAID)
    assert (act.verb, act.actor, act.outcome) == ("move_stranded_lessons", "system", f"done: {outcome}")
    assert [each["local"] for each in act.before["lessons"]] == ["2026-12-04T18:00", "2026-12-06T18:00"]
    assert value(engine, "SELECT warnings FROM purchases") == [outcome]
    [event] = rows(engine, "SELECT type, data FROM outbox")
    assert event.type == "LESSONS_CHANGED"
    assert event.data["lessons"] == act.after["lessons"]


def test_where_nothing_is_stranded_nothing_happens(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    block(engine, 20)
    before = written(engine)
    assert sweep() == []
    assert StrandedActivities(engine, lambda: NOW).move_stranded_lessons(order.purchase_id) == "nothing to move"
    block(engine, 5)
    sweep()
    assert sweep() == [], "what moved is not stranded any more"
    assert written(engine) != before


def test_a_holiday_added_later_moves_lessons_too(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    run(engine, "INSERT INTO holidays VALUES ('2026-12-04'), ('2026-12-11')")
    assert sweep() == ["lesson 4 of 2026-12-04 18:00 moved to 2026-12-12 18:00: 2026-12-04 is a holiday"]
    assert given(engine) == as_planned() | {4: ("trainer-1", at(12))}


def test_what_has_begun_stays(engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]) -> None:
    block(engine, 2, 3)
    assert sweep(AFTER_THREE) == []
    assert given(engine) == as_planned()


def test_the_day_is_one_of_the_trainers_calendar(engine: Engine, sweep: Callable[..., list[str]]) -> None:
    """18:00 in London is the next morning in Auckland."""
    build.trainer(engine, timezone="Pacific/Auckland", hours=("00:00", "23:59:59"))
    lessons(engine)
    block(engine, 4)
    sweep()
    assert given(engine)[3] == ("trainer-1", at(11)), "the one of the 3rd lies on the 4th there"
    assert given(engine)[4] == ("trainer-1", at(4))


def test_a_lesson_that_can_go_nowhere_stays_is_said_once_and_goes_when_it_can(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    run(engine, "UPDATE student_course_purchases SET expires_on = '2026-12-10'")
    block(engine, 4)

    first = sweep()
    assert sweep() == first
    assert "could not be moved" in first[0]
    assert given(engine) == as_planned()
    [act] = rows(engine, SAID)
    assert act.outcome.startswith("refused: TRAINER_NOT_FREE: lesson 4 of 2026-12-04 18:00 stands on a closed day")
    assert value(engine, "SELECT warnings FROM purchases") == first
    assert [row.type for row in rows(engine, "SELECT type FROM outbox ORDER BY id")] == ["LESSONS_STRANDED"]

    run(engine, "UPDATE student_course_purchases SET expires_on = NULL")
    assert "moved to 2026-12-11" in sweep()[0]
    assert sweep() == []
    assert len(rows(engine, SAID)) == 2


def test_one_that_is_stuck_holds_no_other_back(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    run(engine, "UPDATE student_course_purchases SET expires_on = '2026-12-11'")
    block(engine, 4, 6)
    [outcome] = sweep()
    assert "lesson 4 of 2026-12-04 18:00 moved to 2026-12-11" in outcome
    assert "lesson 6 of 2026-12-06 18:00 stands on a closed day" in outcome
    assert len(rows(engine, SAID)) == 2


def test_trainer_and_student_must_be_free(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    build.trainer(engine, "trainer-2", courses=("course-cello",))
    other = lessons(engine, "pay-2", student_id="student-2", series_start="2026-12-11", session_count=2,
                    fields={"startDate": "2026-12-11"})  # fmt: skip
    mine = lessons(engine, "pay-3", item_id="course-cello", series_start="2026-12-13", session_count=2,
                   fields={"startDate": "2026-12-13"})  # fmt: skip
    assert other.purchase_id != mine.purchase_id
    block(engine, 4)
    [outcome] = sweep()
    assert "moved to 2026-12-15" in outcome, (
        "11 and 12: the trainer gives others lessons; 13 and 14: the student has some"
    )


def test_each_trainers_lessons_move_on_their_own_calendar(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    build.trainer(engine, "trainer-2")
    run(engine, "UPDATE trainer_slots SET trainer_id = 'trainer-2' WHERE number = 7")
    block(engine, 7, trainer="trainer-2")
    block(engine, 7, 8)
    sweep()
    assert given(engine) == as_planned() | {7: ("trainer-2", at(8)), 8: ("trainer-1", at(11))}, "8 had left its day"


def test_a_page_of_stuck_purchases_does_not_hide_the_next(
    engine: Engine, order: PurchaseOrder, sweep: Callable[..., list[str]]
) -> None:
    build.trainer(engine, "trainer-2")
    lessons(engine, "pay-2", student_id="student-2")
    block(engine, 4)
    block(engine, 4, trainer="trainer-2")
    stranded = StrandedActivities(engine, lambda: NOW)
    both = stranded.find_stranded_lessons("")
    assert len(both) == 2
    assert stranded.find_stranded_lessons(both[0]) == both[1:]
    assert len(sweep()) == 2
