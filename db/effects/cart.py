"""The bought line leaves the cart."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, text

from db import ledger
from db.engine import at_once
from domain.purchase import PurchaseOrder

# By processingItemId, the cart item's own id; else by courseId; else, for what is no course, by the line's item.
# Only one of two equal items goes: the other was not bought.
_FACTS = text("""
WITH bought AS (
  SELECT student_id, item_type,
         metadata ->> 'processingItemId' AS cart_item_id,
         CASE WHEN item_type = 'course' THEN metadata ->> 'courseId' ELSE item_id END AS item_id
  FROM student_course_purchases WHERE id = :purchase_id
)
SELECT bought.cart_item_id, bought.item_id, kept.state, kept.result,
       (SELECT min(cart.id) FROM cart_items AS cart
        WHERE cart.student_id = bought.student_id
          AND CASE WHEN bought.cart_item_id IS NOT NULL THEN cart.id = bought.cart_item_id
                   ELSE cart.item_type = bought.item_type AND cart.item_id = bought.item_id END) AS found
FROM bought
LEFT JOIN purchase_steps AS kept
  ON kept.purchase_id = :purchase_id AND kept.attempt = :attempt AND kept.step = 'clear_cart'
""")

_REMOVE = """
removed AS (
  DELETE FROM cart_items USING claim WHERE cart_items.id = :found AND cart_items.student_id = :student_id
)"""


def cart_facts(engine: Engine, order: PurchaseOrder) -> Row[Any]:
    """What names the bought line in the cart, which cart item that is (`found`, None = gone), and the ledger row."""
    with at_once(engine) as connection:
        return connection.execute(_FACTS, {"purchase_id": order.purchase_id, "attempt": order.attempt}).one()


def remove(engine: Engine, order: PurchaseOrder, found: str | None, now: datetime) -> None:
    """Remove that one item, once: a repeat must not take an equal one that was put in twice."""
    values = {"found": found, "student_id": order.student_id}
    ledger.do(engine, order, "clear_cart", {"removed": found}, _REMOVE, now=now, **values)
