"""What nothing could read any more is not decided: a clear refusal, nothing stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from domain.purchase import PurchaseOrder
from tests import build
from tests.activities.test_acts import refusal
from tests.build import run


@pytest.fixture
def order(engine: Engine) -> PurchaseOrder:
    """A purchase whose create_purchase is done and whose next step is enroll."""
    order = build.purchase(engine)
    run(
        engine,
        "INSERT INTO purchase_steps VALUES (:id, 1, 'create_purchase', 'done', '{}', now())",
        id=order.purchase_id,
    )
    return order


@pytest.mark.parametrize(
    ("verb", "values"),
    [
        ("amend", {"timeSlot": "6pm"}), ("amend", {}), ("cancel", {"refund": "half"}), ("explode", {}),
        ("assign_trainer", {"trainerId": ""}), ("skip_step", {"step": "confirm_payment"}),
    ],
)  # fmt: skip
def test_malformed_values_are_refused_here_too(
    engine: Engine, order: PurchaseOrder, verb: str, values: dict[str, Any]
) -> None:
    assert refusal(engine, order, verb, **values) == "WRONG_STAGE"


VERBS: list[tuple[str, dict[str, Any]]] = [
    ("amend", {"groupSize": 2}), ("assign_trainer", {"trainerId": "trainer-1"}), ("approve_allocation", {}),
    ("create_sessions", {"count": 5}), ("cancel", {}), ("skip_step", {"step": "enroll"}),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "values"), VERBS)
@pytest.mark.parametrize(
    "end",
    [
        "UPDATE purchase_starts SET ending = 'completed', ended_at = now()",
        "UPDATE purchase_starts SET attempt = 2",
        "INSERT INTO purchase_steps SELECT purchase_id, 1, 'clear_cart', 'undone', NULL, now() FROM purchase_starts",
    ],
    ids=["ended", "started again", "being taken back"],
)
def test_nothing_is_decided_of_a_purchase_that_could_not_read_it_any_more(
    engine: Engine, order: PurchaseOrder, verb: str, values: dict[str, Any], end: str
) -> None:
    run(engine, end)
    assert refusal(engine, order, verb, **values) == "WRONG_STAGE"


@pytest.mark.parametrize(
    ("verb", "values", "step"),
    [
        ("assign_trainer", {"trainerId": "trainer-1"}, "assign_trainer"),
        ("approve_allocation", {}, "approve_allocation"),
        ("create_sessions", {"count": 5}, "create_sessions"),
        ("skip_step", {"step": "enroll"}, "enroll"),
    ],
)
def test_a_decision_for_a_step_that_is_done_comes_too_late(
    engine: Engine, order: PurchaseOrder, verb: str, values: dict[str, Any], step: str
) -> None:
    run(
        engine,
        "INSERT INTO purchase_steps VALUES (:id, 1, :step, 'done', '{}', now())",
        id=order.purchase_id,
        step=step,
    )
    assert refusal(engine, order, verb, **values) == "WRONG_STAGE"


def test_there_is_nothing_to_approve_before_a_trainer_is_held(engine: Engine, order: PurchaseOrder) -> None:
    assert refusal(engine, order, "approve_allocation") == "WRONG_STAGE"


def test_nothing_is_decided_of_a_purchase_nobody_started(engine: Engine, order: PurchaseOrder) -> None:
    assert refusal(engine, replace(order, purchase_id="nobody"), "cancel") == "WRONG_STAGE"
