"""create_purchase, assign_trainer and approve_allocation do what an operator decided before them."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, event

from activities.trainer import TrainerActivities
from db.ledger import Stale
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide
from tests.activities.test_purchase import Shop
from tests.build import LESSONS, NOW, rows, run, value


@pytest.fixture
def shop(engine: Engine) -> Shop:
    build.item(engine)
    return Shop(engine)


@pytest.fixture
def trainers(engine: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(engine, clock, auto_approve=False)


def refusal(step: Callable[[PurchaseOrder], Any], order: PurchaseOrder) -> Refused:
    with pytest.raises(Refused) as caught:
        step(order)
    return caught.value


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in LESSONS.items() if name not in names}


# -- create_purchase ---------------------------------------------------------------------------------------------------


def test_the_missing_detail_is_amended_and_the_purchase_is_made(engine: Engine, shop: Shop) -> None:
    order = shop.buy(metadata=without("classTime"))
    assert shop.refusal(order) == "METADATA_INCOMPLETE"
    decide(engine, order, "amend", timeSlot="17:00")
    assert shop.purchases.create_purchase(order).item_id == "course-piano"
    [row] = rows(engine, "SELECT * FROM purchases")
    assert (row.metadata["timeSlot"], row.metadata_sources["timeSlot"]) == ("17:00", "admin")
    assert row.metadata_sources["startDate"] == "payment"
    assert row.series_start is None, "the first day is decided anew"


def test_amendments_are_laid_over_in_the_order_they_were_made(engine: Engine, shop: Shop) -> None:
    order = shop.buy()
    decide(engine, order, "amend", timeSlot="17:00", sessionCount=12)
    decide(engine, order, "amend", timeSlot="16:00", groupSize=2)
    shop.purchases.create_purchase(order)
    [row] = rows(engine, "SELECT * FROM purchases")
    assert (row.metadata["timeSlot"], row.metadata["groupSize"]) == ("16:00", 2)
    assert (row.session_count, row.session_count_source) == (12, "sessionCount")


def test_an_amendment_that_leaves_the_times_keeps_the_first_day(engine: Engine, shop: Shop) -> None:
    order = shop.buy()
    decide(engine, order, "amend", expiryDate="2027-06-30")
    shop.purchases.create_purchase(order)
    [row] = rows(engine, "SELECT * FROM purchases")
    assert (row.series_start, row.expires_on) == (date(2026, 12, 1), date(2027, 6, 30))


def test_an_unknown_item_is_amended_to_one_that_can_be_had(engine: Engine, shop: Shop) -> None:
    order = shop.buy(items=(("course", "course-piono"),))
    assert shop.refusal(order) == "UNKNOWN_ITEM"
    decide(engine, order, "amend", itemId="course-violin")
    assert shop.refusal(order) == "UNKNOWN_ITEM"
    build.item(engine, "test-piano", item_type="test", fulfilment="ownership")
    decide(engine, order, "amend", itemId="test-piano", itemType="test")
    created = shop.purchases.create_purchase(order)
    assert (created.item_id, created.fulfilment) == ("test-piano", "ownership")
    assert rows(engine, "SELECT item_type, item_id FROM ownerships") == [("test", "test-piano")]
    assert rows(engine, "SELECT item_type, item_id FROM payment_lines") == [("course", "course-piono")]


def test_a_suspected_duplicate_is_kept_as_a_renewal(engine: Engine, shop: Shop) -> None:
    shop.create("pay-1")
    order = shop.buy("pay-2", created_at=NOW + timedelta(minutes=3))
    assert shop.refusal(order) == "DUPLICATE_PAYMENT_SUSPECTED"
    decide(engine, order, "amend", treatAs="renewal")
    shop.purchases.create_purchase(order)
    assert shop.statuses() == {"pay-1": "superseded", "pay-2": "active"}
    assert "treatAs" not in value(engine, "SELECT metadata FROM purchases WHERE payment_id = 'pay-2'")


def test_what_was_decided_of_an_earlier_start_of_the_line_is_not_read(engine: Engine, shop: Shop) -> None:
    order = shop.buy()
    decide(engine, order, "amend", timeSlot="17:00")
    run(engine, "UPDATE purchase_starts SET attempt = 2")
    run(engine, "UPDATE purchase_steps SET attempt = 2")
    again = PurchaseOrder(**{**order.__dict__, "attempt": 2})
    shop.purchases.create_purchase(again)
    assert value(engine, "SELECT metadata ->> 'timeSlot' FROM purchases") == "18:00"


def test_a_decision_between_reading_and_writing_makes_the_step_look_again(engine: Engine, shop: Shop) -> None:
    order = shop.buy()
    amend = partial(decide, engine, order, "amend", timeSlot="17:00")
    with meanwhile(engine, "INSERT INTO student_course_purchases", amend), pytest.raises(Stale):
        shop.purchases.create_purchase(order)
    assert rows(engine, "SELECT * FROM purchases") == []
    shop.purchases.create_purchase(order)
    assert value(engine, "SELECT metadata ->> 'timeSlot' FROM purchases") == "17:00"


@contextmanager
def meanwhile(engine: Engine, before: str, act: Callable[[], object]) -> Generator[None]:
    """`act` happens once, just before the first statement that has `before` in it is sent."""
    acts = [act]

    def intervene(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if before in statement and acts:
            acts.pop()()

    event.listen(engine, "before_cursor_execute", intervene)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", intervene)
    assert not acts, "it never happened"


# -- assign_trainer ----------------------------------------------------------------------------------------------------


def test_the_trainer_an_operator_chose_is_held_and_the_others_know_why(
    engine: Engine, trainers: TrainerActivities
) -> None:
    for name in ("trainer-1", "trainer-2", "trainer-3"):
        build.trainer(engine, name)
    order = build.purchase(engine)
    decide(engine, order, "assign_trainer", trainerId="trainer-1")
    decide(engine, order, "assign_trainer", trainerId="trainer-2")
    assert trainers.assign_trainer(order).trainer_id == "trainer-2"
    assert value(engine, "SELECT lost FROM allocations") == {
        "trainer-1": "an operator chose trainer-2", "trainer-3": "an operator chose trainer-2"
    }  # fmt: skip


def test_how_far_the_trainer_comes_is_the_operators_to_judge(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, latitude=53.5, max_group_size=1)
    order = build.purchase(engine, fields={"learningMode": "home", "groupSize": 3})
    assert refusal(trainers.assign_trainer, order).code == "NO_TRAINER_AVAILABLE"
    decide(engine, order, "assign_trainer", trainerId="trainer-1")
    assert trainers.assign_trainer(order).trainer_id == "trainer-1"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("trainer-2", "does not teach course-piano"),
        ("trainer-3", "not available for lesson 1"),
        ("trainer-4", "has another lesson"),
        ("trainer-5", "blocked on 2026-12-03"),
    ],
)
def test_a_chosen_trainer_who_cannot_is_named_with_the_reason_and_nobody_else_is_taken(
    engine: Engine, trainers: TrainerActivities, given: str, why: str
) -> None:
    build.trainer(engine, "trainer-4")
    trainers.assign_trainer(build.purchase(engine, "pay-9", student_id="student-9"))
    build.trainer(engine, "trainer-1")
    build.trainer(engine, "trainer-2", courses=("course-chess",))
    build.trainer(engine, "trainer-3", hours=("06:00", "10:00"))
    build.trainer(engine, "trainer-5")
    run(engine, "INSERT INTO trainer_blocked_days VALUES ('trainer-5', '2026-12-03')")
    order = build.purchase(engine)
    decide(engine, order, "assign_trainer", trainerId=given)
    for _ in range(2):  # the rule holds for the retries too
        refused = refusal(trainers.assign_trainer, order)
        assert refused.code == "NO_TRAINER_AVAILABLE"
        assert refused.message.startswith(given)
        assert why in refused.message
    decide(engine, order, "assign_trainer", trainerId="trainer-1")
    assert trainers.assign_trainer(order).trainer_id == "trainer-1"


def test_a_choice_made_while_the_step_looks_for_a_trainer_is_heeded(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "trainer-1")
    build.trainer(engine, "trainer-2")
    order = build.purchase(engine)
    choose = partial(decide, engine, order, "assign_trainer", trainerId="trainer-2")
    with meanwhile(engine, "INSERT INTO allocations", choose):
        assert trainers.assign_trainer(order).trainer_id == "trainer-2"


def test_an_amended_schedule_is_what_a_trainer_is_looked_for(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, hours=("06:00", "10:00"))
    order = build.purchase(engine)
    run(
        engine,
        "INSERT INTO purchase_steps VALUES (:id, 1, 'create_purchase', 'done', '{}', now())",
        id=order.purchase_id,
    )
    assert refusal(trainers.assign_trainer, order).code == "NO_TRAINER_AVAILABLE"
    decide(engine, order, "amend", timeSlot="08:00", sessionCount=3)
    assert trainers.assign_trainer(order).slots == 3
    assert value(engine, "SELECT lower(during) FROM trainer_slots WHERE number = 1") == datetime(
        2026, 12, 1, 8, tzinfo=UTC
    )


# -- approve_allocation ------------------------------------------------------------------------------------------------


def test_an_operators_yes_approves_and_the_ledger_says_whose(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)
    assert refusal(trainers.approve_allocation, order).code == "AWAITING_APPROVAL"
    decide(engine, order, "approve_allocation")
    assert value(engine, "SELECT status FROM allocations") == "approved"  # at once: the step may have been skipped
    trainers.approve_allocation(order)
    trainers.approve_allocation(order)
    assert value(engine, "SELECT status FROM allocations") == "approved"
    assert json.dumps(value(engine, "SELECT result FROM purchase_steps WHERE step = 'approve_allocation'")) == (
        '{"approvedBy": "ann"}'
    )


def test_an_operators_yes_to_another_purchase_approves_nothing(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine)
    build.trainer(engine, "trainer-2")
    first, second = build.purchase(engine), build.purchase(engine, "pay-2", student_id="student-2")
    for order in (first, second):
        trainers.assign_trainer(order)
    decide(engine, first, "approve_allocation")
    assert refusal(trainers.approve_allocation, second).code == "AWAITING_APPROVAL"
