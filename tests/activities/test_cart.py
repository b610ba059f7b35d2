"""clear_cart removes the bought line and nothing else (mission row 87)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from activities.cart import CartActivities
from domain.purchase import PurchaseOrder
from tests import build


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
