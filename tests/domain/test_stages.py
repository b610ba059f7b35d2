"""Where a purchase stands that goes from step to step: the first step of its plan that its ledger has not."""

from __future__ import annotations

import pytest

from domain.stages import STARTING, stage_of
from workflows.steps import TABLE

PLANS = {
    "sessions": [
        "confirm_payment", "create_purchase", "enroll", "assign_trainer", "approve_allocation", "create_sessions",
        "clear_cart",
    ],
    "test_cards": ["confirm_payment", "create_purchase", "enroll", "issue_test_cards", "clear_cart"],
    "ownership": ["confirm_payment", "create_purchase", "clear_cart"],
}  # fmt: skip


@pytest.mark.parametrize("fulfilment", PLANS)
def test_each_step_follows_the_one_before(fulfilment: str) -> None:
    plan = PLANS[fulfilment]
    assert plan == [step.name for step in TABLE if step.name in plan], "in the order of the table"
    assert stage_of([], None) == STARTING
    assert stage_of(plan[:1], None) == "create_purchase"
    for number in range(2, len(plan)):
        assert stage_of(plan[:number], fulfilment) == plan[number]
        assert stage_of([*plan[:number], "redeem_coins"], fulfilment) == plan[number]


def test_what_is_all_done_is_at_its_last_step() -> None:
    assert stage_of(PLANS["sessions"], "sessions") == "clear_cart"
