"""approve_allocation and its undo, on a real PostgreSQL (mission row 77)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import Engine

from activities.trainer import TrainerActivities
from tests import build
from tests.activities.test_trainer import HELD, nothing_is_left, refusal
from tests.build import NOW, rows, run, value


@pytest.fixture
def trainers(engine: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(engine, clock, auto_approve=True)


def test_automatic_approval_belongs_to_the_hold(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine)

    assert trainers.assign_trainer(order).approved
    approved = [tuple(row) for row in rows(engine, "SELECT status, approved_at FROM allocations")]
    trainers.approve_allocation(order)  # a run that does not know asks, and is answered

    assert approved == [("approved", NOW)]
    steps = "SELECT facts ->> 'step' FROM purchase_progress WHERE kind = 'step' ORDER BY number"
    assert [step for (step,) in rows(engine, steps)] == ["assign_trainer", "approve_allocation"]
    assert [tuple(row) for row in rows(engine, "SELECT status, approved_at FROM allocations")] == [("approved", NOW)]


def test_without_automatic_approval_an_admin_is_waited_for(engine: Engine, clock: Callable[[], datetime]) -> None:
    build.trainer(engine)
    trainers = TrainerActivities(engine, clock, auto_approve=False)
    order = build.purchase(engine)
    assert not trainers.assign_trainer(order).approved

    assert refusal(trainers.approve_allocation, order).code == "AWAITING_APPROVAL"
    assert value(engine, "SELECT status FROM allocations") == "proposed"
    run(engine, "UPDATE allocations SET status = 'approved'")
    trainers.approve_allocation(order)
    assert value(engine, "SELECT count(*) FROM purchase_steps WHERE step = 'approve_allocation'") == 1


def test_there_is_nothing_to_approve_without_an_allocation(engine: Engine, trainers: TrainerActivities) -> None:
    order = build.purchase(engine)

    assert refusal(trainers.approve_allocation, order).code == "ALLOCATION_NOT_APPROVED"
    assert nothing_is_left(engine)


def test_undo_of_the_approval_cancels_and_a_late_approval_is_refused(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)
    trainers.approve_allocation(order)

    assert trainers.cancel_allocation(order).changed
    assert value(engine, "SELECT status FROM allocations") == "cancelled"
    assert refusal(trainers.approve_allocation, order).code == "ALREADY_MADE_WHOLE"
    assert trainers.release_trainer(order).changed
    assert value(engine, HELD) == 0


def test_undo_of_an_approval_that_never_was_leaves_the_proposal(engine: Engine, clock: Callable[[], datetime]) -> None:
    trainers = TrainerActivities(engine, clock, auto_approve=False)
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)

    assert not trainers.cancel_allocation(order).changed
    assert value(engine, "SELECT status FROM allocations") == "proposed"
    assert refusal(trainers.approve_allocation, order).code == "ALREADY_MADE_WHOLE"
