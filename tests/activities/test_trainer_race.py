"""Purchases that race for trainers: nobody is held twice, everybody who can be served is (mission row 73)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

import pytest
from sqlalchemy import Connection, Engine, event, text

from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from db.engine import make_engine
from db.grants import WORKER
from domain.purchase import PurchaseOrder, TrainerAssigned
from domain.refusals import Refused
from tests import build
from tests.build import NOW, rows, run, value
from tests.roles import as_role

OVERLAPS = """
SELECT count(*) FROM trainer_slots AS a JOIN trainer_slots AS b
  ON (a.trainer_id = b.trainer_id OR a.student_id = b.student_id) AND a.during && b.during
 AND (a.allocation_id, a.number) < (b.allocation_id, b.number)
WHERE a.status = 'held' AND b.status = 'held'
"""
Steps = Callable[[PurchaseOrder], TrainerAssigned]


@pytest.fixture
def wide(database_url: str) -> Iterator[Engine]:
    """An engine on which a dozen threads find a connection each."""
    engine = make_engine(as_role(WORKER, database_url), pool_size=14)
    yield engine
    engine.dispose()


@pytest.fixture
def trainers(wide: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(wide, clock)


def all_at_once(step: Steps, orders: list[PurchaseOrder]) -> list[str]:
    """Each order in a thread of its own, let go together; answers the trainer or the refusal's code of each."""
    gate = Barrier(len(orders), timeout=20)

    def one(order: PurchaseOrder) -> str:
        gate.wait()
        try:
            return step(order).trainer_id
        except Refused as refused:
            return refused.code

    with ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(one, orders))


def until_blocked(engine: Engine, waiting: int = 1) -> None:
    """Returns once `waiting` connections wait for a lock that somebody else holds."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 20
    while value(engine, query) < waiting:
        assert time.monotonic() < deadline, "nobody waits for the lock"


def test_two_purchases_race_for_one_trainer_and_the_loser_is_told_why(
    wide: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(wide)
    orders = [build.purchase(wide, f"pay-{n}", student_id=f"student-{n}") for n in (1, 2)]

    assert sorted(all_at_once(trainers.assign_trainer, orders)) == ["NO_TRAINER_AVAILABLE", "trainer-1"]
    assert value(wide, "SELECT count(*) FROM trainer_slots") == 10
    assert value(wide, "SELECT count(DISTINCT purchase_id) FROM purchase_steps") == 1, "the loser can be retried"


def test_two_purchases_race_and_the_loser_gets_the_next(wide: Engine, trainers: TrainerActivities) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(wide, name)
    orders = [build.purchase(wide, f"pay-{n}", student_id=f"student-{n}") for n in (1, 2)]

    assert sorted(all_at_once(trainers.assign_trainer, orders)) == ["trainer-1", "trainer-2"]
    assert value(wide, OVERLAPS) == 0


@pytest.mark.parametrize(
    "slots", [["18:00"], [f"{hour:02}:00" for hour in range(8, 18)]], ids=["same time", "ten times"]
)
def test_ten_racing_purchases_share_the_trainers_evenly(
    wide: Engine, trainers: TrainerActivities, slots: list[str]
) -> None:
    for number in range(5 if len(slots) > 1 else 10):
        build.trainer(wide, f"trainer-{number}")
    orders = [
        build.purchase(wide, f"pay-{n}", student_id=f"student-{n}", fields={"timeSlot": slots[n % len(slots)]})
        for n in range(10)
    ]

    got = all_at_once(trainers.assign_trainer, orders)

    assert value(wide, OVERLAPS) == 0
    assert value(wide, "SELECT count(*) FROM trainer_slots WHERE status = 'held'") == 100
    each = 2 if len(slots) > 1 else 1
    assert {got.count(name) for name in got} == {each}, got


def test_racing_purchases_of_one_student_never_overlap(wide: Engine, trainers: TrainerActivities) -> None:
    for number in range(6):
        build.trainer(wide, f"trainer-{number}", courses=tuple(f"course-{n}" for n in range(6)))
    orders = [build.purchase(wide, f"pay-{n}", item_id=f"course-{n}") for n in range(6)]

    got = all_at_once(trainers.assign_trainer, orders)

    assert got.count("SCHEDULE_CONFLICT") == 5
    assert value(wide, "SELECT count(*) FROM allocations") == 1


def test_the_same_step_at_once_happens_once_and_answers_the_same(wide: Engine, trainers: TrainerActivities) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(wide, name)
    order = build.purchase(wide)

    with ThreadPoolExecutor(2) as pool, wide.connect() as student:
        student.execute(text("SELECT FROM students FOR UPDATE"))
        tries = [pool.submit(trainers.assign_trainer, order) for _ in range(2)]
        until_blocked(wide, 2)
        student.rollback()
        first, second = (each.result(20) for each in tries)

    assert first == second
    assert value(wide, "SELECT count(*) FROM allocations") == 1


def test_a_try_that_overtook_this_one_is_answered_with_its_result(wide: Engine, trainers: TrainerActivities) -> None:
    """The first try timed out at its caller but is still at work when the second one comes."""
    for name in ("trainer-1", "trainer-2"):
        build.trainer(wide, name)
    order = build.purchase(wide)
    allocation = {"id": "a", "purchase": order.purchase_id, "now": NOW}

    with ThreadPoolExecutor(1) as pool, wide.connect() as first:
        first.execute(text("SELECT FROM students FOR NO KEY UPDATE"))
        _insert_allocation(first, "trainer-2", "student-1", allocation)
        first.execute(
            text(
                "INSERT INTO purchase_steps VALUES (:purchase, 1, 'assign_trainer', 'done',"
                """ '{"allocation_id": "a", "trainer_id": "trainer-2", "slots": 1}', :now)"""
            ),
            allocation,
        )
        second = pool.submit(trainers.assign_trainer, order)
        until_blocked(wide)
        first.commit()

        assert second.result(20) == TrainerAssigned("a", "trainer-2", 1)


def _insert_allocation(connection: Connection, trainer: str, student: str, values: dict[str, object]) -> None:
    values = {**values, "trainer": trainer, "student": student}
    connection.execute(
        text(
            "INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at)"
            " VALUES (:id, :purchase, :trainer, :student, 'approved', :now)"
        ),
        values,
    )
    connection.execute(
        text(
            "INSERT INTO trainer_slots VALUES (:id, 1, :trainer, :student,"
            " tstzrange('2026-12-05 17:30Z', '2026-12-05 18:30Z'), '2026-12-05 17:30', 'Europe/London', 'held')"
        ),
        values,
    )


def test_a_trainer_booked_while_being_chosen_loses_to_the_next(wide: Engine, trainers: TrainerActivities) -> None:
    """The booking touches nothing but slots, so only the EXCLUDE constraint can tell."""
    for name in ("trainer-1", "trainer-2"):
        build.trainer(wide, name)
    order, other = (build.purchase(wide, f"pay-{n}", student_id=f"student-{n}") for n in (1, 2))

    with ThreadPoolExecutor(1) as pool, wide.connect() as booking:
        _insert_allocation(booking, "trainer-1", "student-2", {"id": "a", "purchase": other.purchase_id, "now": NOW})
        racing = pool.submit(trainers.assign_trainer, order)
        until_blocked(wide)
        booking.commit()
        assigned = racing.result(20)

    assert assigned.trainer_id == "trainer-2"
    lost = value(wide, "SELECT lost FROM allocations WHERE id = :id", id=assigned.allocation_id)
    assert lost == {"trainer-1": "another purchase took a slot"}
    assert value(wide, "SELECT last_assigned_at FROM trainers WHERE id = 'trainer-1'") is None


def test_a_trainer_assigned_elsewhere_while_being_chosen_is_weighed_again(
    wide: Engine, trainers: TrainerActivities
) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(wide, name)
    order = build.purchase(wide)

    with ThreadPoolExecutor(1) as pool, wide.connect() as elsewhere:
        elsewhere.execute(text("UPDATE trainers SET last_assigned_at = now() WHERE id = 'trainer-1'"))
        racing = pool.submit(trainers.assign_trainer, order)
        until_blocked(wide)
        elsewhere.commit()

        assert racing.result(20).trainer_id == "trainer-2"
    lost = value(wide, "SELECT lost FROM allocations")
    assert lost == {"trainer-1": "assigned more recently than trainer-2"}


@pytest.mark.parametrize("step", ["assign_trainer", "approve_allocation", "create_sessions"])
def test_a_do_that_meets_its_own_undo_is_refused_and_leaves_nothing(
    wide: Engine, trainers: TrainerActivities, clock: Callable[[], datetime], step: str
) -> None:
    build.trainer(wide)
    order = build.purchase(wide)
    if step == "approve_allocation":
        TrainerActivities(wide, clock, auto_approve=False).assign_trainer(order)
    if step == "create_sessions":
        trainers.assign_trainer(order)
    counts = "SELECT (SELECT count(*) FROM allocations), (SELECT count(*) FROM sessions), (SELECT max(status) FROM allocations)"  # fmt: skip
    before = rows(wide, counts)
    owner = SessionActivities(wide, clock) if step == "create_sessions" else trainers

    with ThreadPoolExecutor(1) as pool, wide.connect() as undo:
        undo.execute(
            text("INSERT INTO purchase_steps VALUES (:purchase, 1, :step, 'undone', NULL, now())"),
            {"purchase": order.purchase_id, "step": step},
        )
        late = pool.submit(getattr(owner, step), order)
        until_blocked(wide)
        undo.commit()
        with pytest.raises(Refused) as refused:
            late.result(20)

    assert refused.value.code == "ALREADY_MADE_WHOLE"
    assert rows(wide, counts) == before


def test_lessons_are_not_made_for_an_allocation_that_is_being_cancelled(
    wide: Engine, trainers: TrainerActivities, clock: Callable[[], datetime]
) -> None:
    build.trainer(wide)
    order = build.purchase(wide)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)

    with ThreadPoolExecutor(1) as pool, wide.connect() as undo:
        undo.execute(text("UPDATE allocations SET status = 'cancelled', cancelled_at = now()"))
        late = pool.submit(SessionActivities(wide, clock).create_sessions, order)
        until_blocked(wide)
        undo.commit()
        with pytest.raises(Refused) as refused:
            late.result(20)

    assert refused.value.code == "ALLOCATION_NOT_APPROVED"
    assert value(wide, "SELECT count(*) FROM sessions") == 0


def test_the_steps_take_as_few_round_trips_as_promised(
    wide: Engine, trainers: TrainerActivities, clock: Callable[[], datetime]
) -> None:
    for number in range(20):
        build.trainer(wide, f"trainer-{number}")
    order = build.purchase(wide, session_count=30)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(wide, "before_cursor_execute", note)
    counts: list[int] = []
    for step in (trainers.assign_trainer, trainers.approve_allocation, SessionActivities(wide, clock).create_sessions):
        statements.clear()
        step(order)
        counts.append(len(statements))
    assert counts == [3, 1, 1], "assign_trainer has BEGIN and COMMIT on top"


def test_assign_and_release_at_once_end_in_no_held_slot(wide: Engine, trainers: TrainerActivities) -> None:
    build.trainer(wide)
    for number in range(10):
        order = build.purchase(wide, f"pay-{number}", student_id=f"student-{number}")
        gate = Barrier(2, timeout=20)

        def do(order: PurchaseOrder = order, gate: Barrier = gate) -> str:
            gate.wait()
            try:
                return trainers.assign_trainer(order).trainer_id
            except Refused as refused:
                return refused.code

        with ThreadPoolExecutor(1) as pool:
            doing = pool.submit(do)
            gate.wait()
            trainers.release_trainer(order)
            assert doing.result(20) in ("trainer-1", "ALREADY_MADE_WHOLE")

    assert value(wide, "SELECT count(*) FROM trainer_slots WHERE status = 'held'") == 0
    assert value(wide, "SELECT count(*) FROM allocations WHERE status <> 'cancelled'") == 0


def test_a_burst_of_many_rounds_never_overlaps(wide: Engine, trainers: TrainerActivities) -> None:
    for number in range(4):
        build.trainer(wide, f"trainer-{number}")
    for turn in range(3):
        orders = [
            build.purchase(wide, f"pay-{turn}-{n}", student_id=f"student-{n % 8}", item_id="course-piano",
                           fields={"timeSlot": f"{8 + 2 * turn + n % 3:02}:30"})
            for n in range(8)
        ]  # fmt: skip
        all_at_once(trainers.assign_trainer, orders)
        run(wide, "UPDATE student_course_purchases SET status = 'voided', voided_at = now()")

    assert value(wide, OVERLAPS) == 0
    whole = "SELECT DISTINCT count(*) FROM trainer_slots GROUP BY allocation_id"
    assert [row[0] for row in rows(wide, whole)] == [10], "all slots or none"
