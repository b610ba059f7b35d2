"""issue_test_cards gives 50 cards of each subject, void_test_cards takes the unused ones back (mission rows 2, 3, 5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.test_cards import CardActivities
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from tests import build
from tests.build import NOW
from tests.gateways.in_memory import FakeProvider
from tests.roles import owner_of
from tests.subjects import CARDS, bought, bundle, subject

OF_EACH = """
SELECT subject_id, count(*), min(test_number), max(test_number) FROM mock_test_attempts
WHERE purchase_id = :id AND voided_at IS NULL GROUP BY 1 ORDER BY 1"""


@pytest.fixture
def cards(engine: Engine) -> CardActivities:
    return CardActivities(engine, lambda: NOW)


def buy(engine: Engine, *items: tuple[str, str], student_id: str = "student-1") -> list[PurchaseOrder]:
    """A payment of these items, each line confirmed and created."""
    provider = FakeProvider()
    build.student(engine, student_id)
    build.pay(engine, provider, items=items, student_id=student_id, metadata={})
    orders = [build.start(engine, line=line, student_id=student_id) for line in range(1, len(items) + 1)]
    for order in orders:
        PaymentActivities(engine, provider, lambda: NOW).confirm_payment(order)
        PurchaseActivities(engine, lambda: NOW).create_purchase(order)
    return orders


def start_a_test(engine: Engine, order: PurchaseOrder, number: int = 7) -> None:
    build.run(
        engine,
        "INSERT INTO test_attempt_sessions SELECT 's', id, 1, 'a-key', 'in_progress', now() FROM mock_test_attempts"
        " WHERE purchase_id = :id AND test_number = :number",
        id=order.purchase_id, number=number,
    )  # fmt: skip


def test_two_subjects_bought_in_one_payment_are_a_hundred_cards(engine: Engine, cards: CardActivities) -> None:
    for name in ("physics", "biology"):
        subject(engine, name)
    for order in buy(engine, ("subject", "physics"), ("subject", "biology")):
        cards.issue_test_cards(order)
        cards.issue_test_cards(order)
    assert build.value(engine, CARDS) == 100
    assert build.rows(engine, "SELECT DISTINCT warnings FROM student_course_purchases") == [([],)]


def test_a_bundle_is_expanded_once_to_distinct_subjects(engine: Engine, cards: CardActivities) -> None:
    bundle(engine, "science", ("physics", "biology", "physics"))
    [order] = buy(engine, ("bundle", "science"))
    build.run(engine, "DELETE FROM bundle_subjects")  # what was bought stays what was bought
    EnrollmentActivities(engine, lambda: NOW).enroll(order)
    cards.issue_test_cards(order)
    both = [("biology", 50, 1, 50), ("physics", 50, 1, 50)]
    assert build.rows(engine, OF_EACH, id=order.purchase_id) == both
    enrolled = build.rows(engine, "SELECT item_type, item_id FROM enrollments WHERE ended_at IS NULL ORDER BY item_id")
    assert enrolled == [("subject", "biology"), ("subject", "physics")]


def test_a_subject_and_a_bundle_that_holds_it_have_cards_each_and_refunding_one_keeps_the_access(
    engine: Engine, cards: CardActivities
) -> None:
    bundle(engine, "science", ("physics", "biology"))
    alone, in_bundle = buy(engine, ("subject", "physics"), ("bundle", "science"))
    enrollments = EnrollmentActivities(engine, lambda: NOW)
    for order in (alone, in_bundle):
        enrollments.enroll(order)
        cards.issue_test_cards(order)
    assert build.value(engine, CARDS) == 150
    assert cards.void_test_cards(in_bundle) == Undone(changed=True)
    enrollments.unenroll(in_bundle)
    assert build.rows(engine, "SELECT item_id FROM enrollments WHERE ended_at IS NULL") == [("physics",)]
    assert build.rows(engine, OF_EACH, id=alone.purchase_id) == [("physics", 50, 1, 50)]
    assert build.rows(engine, OF_EACH, id=in_bundle.purchase_id) == []


@pytest.mark.parametrize("subjects", [(), ("physics", "alchemy")], ids=["none", "one nobody knows"])
def test_a_bundle_without_good_subjects_is_an_unknown_item(engine: Engine, subjects: tuple[str, ...]) -> None:
    bundle(engine, "science", subjects)
    build.run(engine, "DELETE FROM catalogue_items WHERE id = 'alchemy'")
    with pytest.raises(Refused) as refused:
        buy(engine, ("bundle", "science"))
    assert refused.value.code == "UNKNOWN_ITEM"
    assert build.value(engine, "SELECT count(*) FROM purchase_subjects") == 0


def test_cards_that_are_there_are_left_alone(engine: Engine, cards: CardActivities) -> None:
    order = bought(engine)
    build.run(engine, "INSERT INTO mock_test_attempts (id, purchase_id, subject_id, test_number) VALUES ('mine', :id, 'physics', 7)", id=order.purchase_id)  # fmt: skip
    cards.issue_test_cards(order)
    assert build.value(engine, "SELECT id FROM mock_test_attempts WHERE test_number = 7") == "mine"
    assert build.value(engine, CARDS) == 50


def test_a_count_that_stays_wrong_is_refused_and_nothing_is_done(engine: Engine, cards: CardActivities) -> None:
    order = bought(engine, subjects=("physics", "biology"))
    build.run(engine, "INSERT INTO mock_test_attempts (id, purchase_id, subject_id, test_number, voided_at) VALUES ('gone', :id, 'physics', 7, now())", id=order.purchase_id)  # fmt: skip
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            cards.issue_test_cards(order)
        assert refused.value.code == "CARDS_FAILED"
        assert "50 of biology, 49 of physics" in refused.value.message
        assert build.value(engine, CARDS) == 0
    build.run(engine, "DELETE FROM mock_test_attempts")
    cards.issue_test_cards(order)
    assert build.value(engine, CARDS) == 100


def test_a_card_with_an_attempt_stays(engine: Engine, cards: CardActivities) -> None:
    order = bought(engine)
    cards.issue_test_cards(order)
    start_a_test(engine, order)
    assert cards.void_test_cards(order) == Undone(changed=True)
    assert build.rows(engine, OF_EACH, id=order.purchase_id) == [("physics", 1, 7, 7)]
    assert build.value(engine, "SELECT count(*) FROM mock_test_attempts") == 50  # marked, never deleted


def test_an_undo_waits_for_the_start_of_a_test_and_leaves_its_card(engine: Engine, cards: CardActivities) -> None:
    order = bought(engine)
    cards.issue_test_cards(order)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as thread, owner_of(engine).connect() as starting:
        starting.execute(text("SELECT FROM mock_test_attempts WHERE test_number = 7 FOR UPDATE"))
        undoing = thread.submit(cards.void_test_cards, order)
        while not build.value(engine, waiting):
            assert not undoing.done()
        starting.execute(
            text(
                "INSERT INTO test_attempt_sessions SELECT 's', id, 1, 'a-key', 'in_progress', now()"
                " FROM mock_test_attempts WHERE test_number = 7"
            )
        )
        starting.commit()
        assert undoing.result(30) == Undone(changed=True)
    assert build.rows(engine, OF_EACH, id=order.purchase_id) == [("physics", 1, 7, 7)]


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_eight_at_once_issue_each_card_once(rounds: int, engine: Engine, cards: CardActivities) -> None:
    with ThreadPoolExecutor(8) as threads:
        for number in range(rounds):
            order = bought(engine, f"pay-{number}", subjects=("physics", "biology"), student_id=f"student-{number}")
            list(threads.map(cards.issue_test_cards, [order] * 8))
            assert [row[1:] for row in build.rows(engine, OF_EACH, id=order.purchase_id)] == [(50, 1, 50)] * 2
