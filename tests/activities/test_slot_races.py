"""Many who want the same times at once, round after round: the constraint decides, the loser takes the next (row 73).

8 buyers and one trainer's slot, 1,000 rounds under soak; holds against holds, purchases and their own end, 400 rounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier

import pytest
from sqlalchemy import Engine, text

from activities.slot_holds import HoldActivities
from activities.trainer import TrainerActivities
from db.engine import make_engine
from db.grants import WORKER
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.activities.holding import Holder, holder
from tests.activities.test_trainer_race import OVERLAPS
from tests.build import rows, run, value
from tests.roles import as_role, owner_of

BUYERS = 8
AGAIN = (
    "DELETE FROM trainer_slots", "DELETE FROM allocations", "DELETE FROM purchase_steps",
    "UPDATE trainers SET last_assigned_at = NULL",
)  # fmt: skip
WHOLE = """
SELECT a.status, a.purchase_id, count(*) FILTER (WHERE s.status = 'held') AS held FROM allocations AS a
JOIN trainer_slots AS s ON s.allocation_id = a.id GROUP BY a.id
"""
many = pytest.mark.parametrize("rounds", [20, pytest.param(400, marks=pytest.mark.soak)])


@pytest.fixture
def wide(database_url: str) -> Iterator[Engine]:
    engine = make_engine(as_role(WORKER, database_url), pool_size=BUYERS + 2)
    yield engine
    engine.dispose()


@pytest.fixture
def held(database_url: str) -> Iterator[Holder]:
    with holder(database_url, pool_size=BUYERS) as own:
        yield own


@pytest.fixture
def trainers(wide: Engine, held: Holder) -> TrainerActivities:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(wide, name)
    return TrainerActivities(wide, held.at.clock)


@pytest.fixture
def orders(wide: Engine) -> list[PurchaseOrder]:
    """Ten daily lessons at 18:00 for each of eight students."""
    return [build.purchase(wide, f"pay-{n}", student_id=f"student-{n}") for n in range(BUYERS)]


def at_once(pool: ThreadPoolExecutor, *calls: Callable[[], object]) -> list[object]:
    """All let go together; of one that is refused the code."""
    gate = Barrier(len(calls), timeout=30)

    def one(call: Callable[[], object]) -> object:
        gate.wait()
        try:
            return call()
        except Refused as refused:
            return refused.code

    return list(pool.map(one, calls))


def once_more(engine: Engine) -> None:
    """As before the round: the same students, purchases and trainers."""
    with owner_of(engine).begin() as connection:
        for statement in AGAIN:
            connection.execute(text(statement))


def nobody_is_held_twice(engine: Engine) -> None:
    """No lesson of a trainer or a student overlaps another; an allocation has all its slots, an ended one none."""
    assert value(engine, OVERLAPS) == 0
    for allocation in rows(engine, WHOLE):
        assert allocation.held == (0 if allocation.status == "cancelled" else 10)


@pytest.mark.parametrize("rounds", [50, pytest.param(1000, marks=pytest.mark.soak)])
def test_eight_buyers_of_one_slot(
    wide: Engine, trainers: TrainerActivities, orders: list[PurchaseOrder], rounds: int
) -> None:
    """The first trainer has one winner, the next one takes one loser, the others park."""
    with ThreadPoolExecutor(BUYERS) as pool:
        for _ in range(rounds):
            once_more(wide)
            calls = [lambda order=order: trainers.assign_trainer(order).trainer_id for order in orders]
            got = Counter(at_once(pool, *calls))
            assert got == {"trainer-1": 1, "trainer-2": 1, "NO_TRAINER_AVAILABLE": BUYERS - 2}
            nobody_is_held_twice(wide)
            assert value(wide, "SELECT count(DISTINCT purchase_id) FROM purchase_steps") == 2


@many
def test_holds_against_holds(
    wide: Engine, held: Holder, trainers: TrainerActivities, orders: list[PurchaseOrder], rounds: int
) -> None:
    students = [order.student_id for order in orders[:4]]
    with ThreadPoolExecutor(len(students)) as pool:
        for _ in range(rounds):
            once_more(wide)
            got = Counter(at_once(pool, *[lambda who=who: held.hold(who).trainer_id for who in students]))
            assert got == {"trainer-1": 1, "trainer-2": 1, "NO_TRAINER_AVAILABLE": len(students) - 2}
            nobody_is_held_twice(wide)


@many
def test_holds_against_purchases(
    wide: Engine, held: Holder, trainers: TrainerActivities, orders: list[PurchaseOrder], rounds: int
) -> None:
    """Of other students, and of the same one: whichever comes first, the purchase has its lessons or is parked for want
    of a trainer, never for its student's own hold."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(rounds):
            once_more(wide)
            bought, mine, *others = at_once(
                pool,
                lambda: trainers.assign_trainer(orders[0]).trainer_id,
                lambda: held.hold("student-0").trainer_id,
                lambda: held.hold("student-1").trainer_id,
                lambda: trainers.assign_trainer(orders[2]).trainer_id,
            )
            nobody_is_held_twice(wide)
            assert bought in ("trainer-1", "trainer-2", "NO_TRAINER_AVAILABLE")
            assert mine in ("trainer-1", "trainer-2", "NO_TRAINER_AVAILABLE", "SCHEDULE_CONFLICT")
            assert {bought, mine, *others} >= {"trainer-1", "trainer-2"}


@many
def test_the_end_of_a_hold_against_the_purchase_that_takes_it_over(
    wide: Engine, held: Holder, trainers: TrainerActivities, orders: list[PurchaseOrder], rounds: int
) -> None:
    """The timer, another buyer who sweeps up what has expired, and the purchase, all at once: it has its lessons."""
    timer = HoldActivities(wide, held.at.clock)
    late = TrainerActivities(wide, lambda: held.at.clock() + timedelta(hours=1))
    run(wide, "DELETE FROM trainer_courses WHERE trainer_id = 'trainer-2'")
    ends: Counter[bool] = Counter()

    def buyer() -> str:
        return late.assign_trainer(orders[1]).trainer_id

    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds):
            once_more(wide)
            kept = held.hold("student-0")
            ending = partial(timer.release_hold, kept.id) if number % 2 else buyer
            mine, other = at_once(pool, lambda: trainers.assign_trainer(orders[0]).allocation_id, ending)
            nobody_is_held_twice(wide)
            assert value(wide, "SELECT count(*) FROM allocations WHERE status = 'on_hold'") == 0
            if number % 2:
                assert (mine == kept.id) is (other is False), "taken over, or ended and matched anew"
                ends[bool(other)] += 1
            else:
                assert (mine == "NO_TRAINER_AVAILABLE") is (other == "trainer-1")
    assert ends
