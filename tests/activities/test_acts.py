"""decide stores what an operator decided once, with its direct effect; record_act keeps one row per act (I10)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.acts import ActActivities
from activities.enrollment import EnrollmentActivities
from activities.purchase import PurchaseActivities
from activities.trainer import TrainerActivities
from domain.acts import ActRecord
from domain.purchase import Announcement, PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide, decision
from tests.activities.world import written
from tests.build import NOW, rows, run, value
from tests.roles import owner_of

DECISIONS = "SELECT request_key, verb, values, actor, reason, decided_at FROM operator_decisions ORDER BY decided_at"
BOUGHT = (
    "SELECT metadata, metadata_sources, session_count, session_count_source, series_start, expires_on FROM purchases"
)


@pytest.fixture
def acts(engine: Engine, clock: Callable[[], datetime]) -> ActActivities:
    return ActActivities(engine, clock)


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


def refusal(engine: Engine, order: PurchaseOrder, verb: str, **values: Any) -> str:
    """The code; and nothing was stored or changed."""
    before = written(engine), rows(engine, DECISIONS)
    with pytest.raises(Refused) as refused:
        decide(engine, order, verb, **values)
    assert (written(engine), rows(engine, DECISIONS)) == before
    return refused.value.code


def test_a_decision_is_stored_with_who_why_and_when(engine: Engine, acts: ActActivities, order: PurchaseOrder) -> None:
    acts.decide(decision(order, "cancel", "k-1", refund="none"))
    assert rows(engine, DECISIONS) == [("k-1", "cancel", {"refund": "none"}, "ann", "the student called", NOW)]


def test_a_key_names_one_act_which_is_decided_once(engine: Engine, acts: ActActivities, order: PurchaseOrder) -> None:
    first = decision(order, "amend", "k-1", timeSlot="19:00")
    assert acts.decide(first) is None
    after = written(engine), rows(engine, DECISIONS)
    assert acts.decide(first) is None  # its act is under way: whoever tries again goes on with it
    others = (decision(order, "amend", "k-1", timeSlot="20:00"), decision(order, "cancel", "k-1"))
    for other in (*others, replace(decision(order, "retry_now", "k-1"), stores=False)):
        with pytest.raises(Refused) as refused:
            acts.decide(other)
        assert refused.value.code == "KEY_REUSED"
    assert (written(engine), rows(engine, DECISIONS)) == after


def test_an_act_on_record_is_answered_from_there(engine: Engine, acts: ActActivities, order: PurchaseOrder) -> None:
    acts.record_act(ActRecord(order, "k-1", "retry_now", "ann", "asked", {}, {}, "done"))
    again = replace(decision(order, "retry_now", "k-1"), stores=False)
    assert acts.decide(again) == "done"
    assert acts.decide(replace(again, request_key="k-2")) is None
    with pytest.raises(Refused) as refused:
        acts.decide(decision(order, "cancel", "k-1", refund="full"))
    assert refused.value.code == "KEY_REUSED"
    assert rows(engine, DECISIONS) == [], "what only tries again decides nothing"


def test_an_amendment_to_a_closed_item_is_refused_it_would_give_the_money_back(engine: Engine) -> None:
    build.student(engine)
    build.item(engine, "course-closed", is_open=False)
    build.item(engine)
    build.pay(engine)
    order = build.start(engine)
    assert refusal(engine, order, "amend", itemId="course-closed") == "WRONG_STAGE"
    decide(engine, order, "amend", itemId="course-chess", itemType="course")  # not in the catalogue: it parks, visibly


@pytest.mark.parametrize("named", ["typo-trainer", "Trainer-1", "trainer-1 "])
def test_a_trainer_nobody_knows_is_not_chosen(engine: Engine, order: PurchaseOrder, named: str) -> None:
    build.trainer(engine)
    with pytest.raises(Refused, match="there is no trainer of this trainerId"):
        decide(engine, order, "assign_trainer", trainerId=named)
    assert rows(engine, DECISIONS) == []


def test_a_refund_is_settled_outside_while_the_purchase_is_taken_back(engine: Engine, order: PurchaseOrder) -> None:
    run(engine, "UPDATE purchase_steps SET state = 'undone', result = NULL")
    assert refusal(engine, order, "retry_now") == "WRONG_STAGE"
    decide(engine, order, "settle_refund", proof="bank transfer 4711")
    assert [row.verb for row in rows(engine, DECISIONS)] == ["settle_refund"]


def test_a_repeat_is_fine_even_when_a_new_decision_would_come_too_late(engine: Engine, order: PurchaseOrder) -> None:
    first = decide(engine, order, "cancel")
    run(engine, "UPDATE purchase_starts SET ending = 'cancelled', ended_at = now()")
    ActActivities(engine, lambda: NOW).decide(first)
    assert refusal(engine, order, "cancel") == "WRONG_STAGE"


def test_many_tries_at_once_decide_once_and_others_one_after_the_other(
    engine: Engine, acts: ActActivities, order: PurchaseOrder
) -> None:
    gate = Barrier(8, timeout=20)

    def one(number: int) -> None:
        gate.wait()
        key = "same" if number % 2 else f"other-{number}"
        acts.decide(decision(order, "amend", key, groupSize=2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))

    decided = rows(engine, DECISIONS)
    assert sorted(row.request_key for row in decided) == ["other-0", "other-2", "other-4", "other-6", "same"]
    assert len({row.decided_at for row in decided}) == 5, "under a clock that stands they still have an order"
    assert value(engine, "SELECT decisions FROM purchase_starts") == 5


def test_amending_the_schedule_changes_the_row_says_who_and_leaves_the_first_day_open(
    engine: Engine, order: PurchaseOrder
) -> None:
    decide(engine, order, "amend", timeSlot="19:00", startDate="2026-12-05")
    [row] = rows(engine, BOUGHT)
    assert (row.metadata["timeSlot"], row.metadata["startDate"]) == ("19:00", "2026-12-05")
    assert row.metadata["scheduleType"] == "daily"
    assert row.metadata_sources == {"timeSlot": "admin", "startDate": "admin"}
    assert row.series_start is None
    assert row.session_count == 10


def test_amending_the_count_sets_it_and_keeps_the_first_day(engine: Engine, order: PurchaseOrder) -> None:
    decide(engine, order, "amend", sessionCount=12)
    [row] = rows(engine, BOUGHT)
    assert (row.session_count, row.session_count_source, row.series_start) == (12, "sessionCount", date(2026, 12, 1))


def test_amending_the_expiry_moves_the_end_of_the_access_already_given(engine: Engine, order: PurchaseOrder) -> None:
    EnrollmentActivities(engine, lambda: NOW).enroll(order)
    decide(engine, order, "amend", expiryDate="2027-06-30")
    assert value(engine, "SELECT expires_on FROM purchases") == date(2027, 6, 30)
    assert value(engine, "SELECT expires_on FROM enrollments") == date(2027, 6, 30)


def test_an_amendment_before_the_purchase_exists_only_waits(engine: Engine) -> None:
    build.student(engine)
    build.pay(engine)
    order = build.start(engine)
    before = written(engine)
    decide(engine, order, "amend", timeSlot="19:00", itemId="course-chess", treatAs="renewal")
    run(engine, "UPDATE purchase_starts SET decisions = 0")
    assert written(engine) == before, "nothing else has changed"
    assert len(rows(engine, DECISIONS)) == 1


@pytest.mark.parametrize("values", [{"itemId": "course-chess"}, {"itemType": "test"}, {"treatAs": "renewal"}])
def test_what_was_bought_can_no_longer_be_amended_once_the_purchase_exists(
    engine: Engine, order: PurchaseOrder, values: dict[str, Any]
) -> None:
    assert refusal(engine, order, "amend", timeSlot="19:00", **values) == "WRONG_STAGE"


def test_an_amendment_that_leaves_no_plan_is_refused_although_each_field_is_fine(engine: Engine) -> None:
    order = build.purchase(engine, fields={"sessionDuration": None})
    run(
        engine,
        "INSERT INTO purchase_steps VALUES (:id, 1, 'create_purchase', 'done', '{}', now())",
        id=order.purchase_id,
    )
    assert refusal(engine, order, "amend", timeSlot="06:00-22:00") == "METADATA_INCOMPLETE"


@pytest.mark.parametrize("values", [{"timeSlot": "19:00"}, {"sessionCount": 12}, {"purchaseTier": 20}])
def test_lessons_that_a_trainer_holds_are_not_amended_but_made_anew(
    engine: Engine, order: PurchaseOrder, clock: Callable[[], datetime], values: dict[str, Any]
) -> None:
    build.trainer(engine)
    TrainerActivities(engine, clock).assign_trainer(order)
    assert refusal(engine, order, "amend", **values) == "WRONG_STAGE"
    decide(engine, order, "amend", timeSlot="18:00", sessionCount=10, groupSize=2)


def test_amending_the_count_mends_an_allocation_that_has_lost_its_own(
    engine: Engine, order: PurchaseOrder, clock: Callable[[], datetime]
) -> None:
    build.trainer(engine)
    TrainerActivities(engine, clock).assign_trainer(order)
    run(engine, "UPDATE allocations SET metadata = metadata - 'sessionCount'")
    decide(engine, order, "amend", sessionCount=10)
    assert value(engine, "SELECT metadata -> 'sessionCount' FROM allocations") == 10


def test_an_amendment_waits_for_the_step_that_creates_the_purchase_and_then_changes_its_row(
    engine: Engine, clock: Callable[[], datetime]
) -> None:
    order = build.purchase(engine)
    with ThreadPoolExecutor(1) as pool, owner_of(engine).connect() as creating:
        with creating.begin():
            # What create_purchase does to the start, and its ledger row, not yet committed.
            creating.exec_driver_sql("SELECT FROM purchase_starts FOR SHARE")
            creating.exec_driver_sql(
                "INSERT INTO purchase_steps SELECT purchase_id, 1, 'create_purchase', 'done', '{}', now() FROM purchase_starts"
            )
            amending = pool.submit(decide, engine, order, "amend", timeSlot="19:00")
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while not value(engine, waits):
                assert not amending.done(), amending
        amending.result(20)
    assert value(engine, "SELECT metadata ->> 'timeSlot' FROM purchases") == "19:00"


def test_an_act_is_on_record_once_and_the_first_row_stays(
    engine: Engine, acts: ActActivities, order: PurchaseOrder
) -> None:
    act = ActRecord(order, "k-1", "cancel", "ann", "asked", {"stage": "enroll"}, {"stage": "undone"}, "done", "bob")
    acts.record_act(act)
    later = ActActivities(engine, lambda: NOW + timedelta(hours=1))
    later.record_act(replace(act, outcome="changed my mind"))
    later.record_act(replace(act, request_key="k-2", second_actor=""))
    recorded = rows(
        engine,
        "SELECT request_key, verb, actor, second_actor, reason, before, after, outcome, acted_at FROM operator_acts",
    )
    assert recorded == [
        ("k-1", "cancel", "ann", "bob", "asked", {"stage": "enroll"}, {"stage": "undone"}, "done", NOW),
        (
            "k-2",
            "cancel",
            "ann",
            None,
            "asked",
            {"stage": "enroll"},
            {"stage": "undone"},
            "done",
            NOW + timedelta(hours=1),
        ),
    ]


def test_an_act_can_be_recorded_after_the_purchase_has_ended(
    engine: Engine, acts: ActActivities, order: PurchaseOrder
) -> None:
    PurchaseActivities(engine, lambda: NOW).announce(Announcement(order, "", "cancelled", "CANCELLED"))
    acts.record_act(ActRecord(order, "k-1", "cancel", "ann", "asked", {}, {}, "cancelled"))
    assert value(engine, "SELECT count(*) FROM operator_acts") == 1
