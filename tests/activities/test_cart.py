"""clear_cart completes a purchase, and removes the bought line and nothing else (mission rows 53, 87)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from activities.cart import CartActivities
from domain.purchase import PurchaseOrder, Undone
from domain.refusals import Refused
from tests import build
from tests.activities.test_trainer_race import until_blocked


@pytest.fixture
def carts(engine: Engine) -> CartActivities:
    return CartActivities(engine, lambda: build.NOW)


def bought(engine: Engine, **fields: Any) -> PurchaseOrder:
    """A bought piano course; in the cart it lies twice, with chess, and in somebody else's cart once."""
    order = build.purchase(engine, fields={"courseId": None, **fields})
    build.student(engine, "student-2")
    build.cart_item(engine, "cart-a")
    build.cart_item(engine, "cart-b")
    build.cart_item(engine, "cart-c", item_id="course-chess")
    build.cart_item(engine, "cart-d", student_id="student-2")
    return order


def clear_twice(engine: Engine, carts: CartActivities, order: PurchaseOrder) -> tuple[list[str], list[str]]:
    """What is left in the carts, and the warnings of the first time."""
    with capture_logs() as logs:
        carts.clear_cart(order)
    once = build.rows(engine, "SELECT id FROM cart_items ORDER BY id")
    carts.clear_cart(order)
    assert build.rows(engine, "SELECT id FROM cart_items ORDER BY id") == once
    return [row.id for row in once], [log["event"] for log in logs if log["log_level"] == "warning"]


def test_by_processing_item_id(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-b", courseId="course-piano")
    assert clear_twice(engine, carts, order) == (["cart-a", "cart-c", "cart-d"], [])


def test_else_by_course_id_and_only_one_of_two_equal_items(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, courseId="course-piano")
    assert clear_twice(engine, carts, order) == (["cart-b", "cart-c", "cart-d"], [])


def test_with_neither_nothing_is_removed_and_a_warning_is_left(engine: Engine, carts: CartActivities) -> None:
    left, warnings = clear_twice(engine, carts, bought(engine))
    assert left == ["cart-a", "cart-b", "cart-c", "cart-d"]
    assert len(warnings) == 1


def test_an_item_that_is_gone_already_is_fine_and_no_other_is_taken_for_it(
    engine: Engine, carts: CartActivities
) -> None:
    order = bought(engine, processingItemId="cart-gone", courseId="course-piano")
    assert clear_twice(engine, carts, order) == (["cart-a", "cart-b", "cart-c", "cart-d"], [])


def test_another_students_cart_item_is_not_removed(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-d")
    assert clear_twice(engine, carts, order) == (["cart-a", "cart-b", "cart-c", "cart-d"], [])


def test_a_line_that_is_no_course_is_found_by_its_item(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine)
    build.item(engine, "test-1", item_type="test", fulfilment="ownership")
    build.cart_item(engine, "cart-e", item_type="test", item_id="test-1")
    build.run(engine, "UPDATE student_course_purchases SET item_type = 'test', item_id = 'test-1'")
    assert clear_twice(engine, carts, order) == (["cart-a", "cart-b", "cart-c", "cart-d"], [])


ENDED = "SELECT ending, refunded, ended_at FROM purchase_starts"
TOLD = "SELECT count(*) FROM outbox WHERE type = 'PURCHASE_COMPLETED'"


def test_the_ending_and_its_event_come_with_it(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-b")
    carts.clear_cart(order)
    assert [tuple(row) for row in build.rows(engine, ENDED)] == [("completed", False, build.NOW)]
    assert build.value(engine, "SELECT completed_at FROM student_course_purchases") == build.NOW
    assert build.value(engine, TOLD) == 1


def test_a_cart_that_refuses_is_a_warning_and_the_purchase_is_completed(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-b")
    build.run(
        engine,
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        "CREATE TRIGGER no BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION no()",
    )
    left, warnings = clear_twice(engine, carts, order)
    assert (left, warnings) == (["cart-a", "cart-b", "cart-c", "cart-d"], ["cart_not_cleared"])
    assert build.value(engine, TOLD) == 1


def test_trouble_at_the_cart_is_tried_again_and_completes_nothing(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-b")
    build.run(
        engine,
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        "  RAISE EXCEPTION 'too late' USING ERRCODE = 'lock_not_available'; END $$;"
        "CREATE TRIGGER late BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION late()",
    )
    with pytest.raises(OperationalError):
        carts.clear_cart(order)
    assert build.value(engine, TOLD) == 0
    assert build.rows(engine, "SELECT FROM purchase_steps WHERE step = 'clear_cart'") == []


def test_completion_that_is_ruled_out_never_comes(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-b")
    assert [carts.rule_out_completion(order) for _ in range(2)] == [Undone(False), Undone(False)]
    with pytest.raises(Refused) as refused:
        carts.clear_cart(order)
    assert refused.value.code == "ALREADY_MADE_WHOLE"
    assert build.value(engine, TOLD) == 0
    assert build.value(engine, "SELECT count(*) FROM cart_items") == 4


def test_completion_that_has_come_cannot_be_ruled_out(engine: Engine, carts: CartActivities) -> None:
    order = bought(engine, processingItemId="cart-b")
    carts.clear_cart(order)
    assert [carts.rule_out_completion(order) for _ in range(2)] == [Undone(False, too_late=True)] * 2
    assert build.value(engine, "SELECT state FROM purchase_steps WHERE step = 'clear_cart'") == "done"


@pytest.mark.parametrize("first", ["a rollback", "the cart"])
def test_of_a_rollback_and_the_cart_at_once_one_is_first(engine: Engine, carts: CartActivities, first: str) -> None:
    order = bought(engine, processingItemId="cart-b")
    state, result = ("undone", None) if first == "a rollback" else ("done", "{}")
    with ThreadPoolExecutor(1) as pool, engine.connect() as other:
        other.execute(
            text(
                "INSERT INTO purchase_steps VALUES (:purchase, 1, 'clear_cart', :state, CAST(:result AS jsonb), now())"
            ),
            {"purchase": order.purchase_id, "state": state, "result": result},
        )
        late = pool.submit(carts.clear_cart if first == "a rollback" else carts.rule_out_completion, order)
        until_blocked(engine)
        other.commit()
        if first == "a rollback":
            with pytest.raises(Refused):
                late.result(20)
        else:
            assert late.result(20) == Undone(False, too_late=True)
    assert build.value(engine, TOLD) == 0
