"""Remove the bought line from the cart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from db import ledger
from db.engine import at_once
from db.rows import row_as
from domain.purchase import PurchaseOrder

# Raw: what names the line is taken out of its JSON there. By processingItemId, the cart item's own id; else by
# courseId; else, for what is no course, by the line's item.
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


@dataclass(frozen=True)
class CartFacts:
    """What names the bought line in the cart, which cart item that is (`found`, None: gone), and the ledger row."""

    cart_item_id: str | None
    item_id: str | None
    state: str | None
    result: ledger.Json | None
    found: str | None


def cart_facts(engine: Engine, order: PurchaseOrder) -> CartFacts:
    """Read which cart item is the bought line, and the ledger row, in one round trip."""
    values = {"purchase_id": order.purchase_id, "attempt": order.attempt}
    with at_once(engine) as connection:
        return row_as(CartFacts, connection.execute(_FACTS, values))


def remove(engine: Engine, order: PurchaseOrder, found: str | None, now: datetime) -> None:
    """Remove the item `found`, once: a repeat must not remove an equal one that was put in twice."""
    values = {"found": found, "student_id": order.student_id}
    ledger.do(engine, order, "clear_cart", {"removed": found}, _REMOVE, now=now, **values)
