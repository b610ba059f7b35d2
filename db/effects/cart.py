"""Complete a purchase: the bought line leaves the cart, and the ending and its event are told with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from sqlalchemy import Engine, TextClause, text

from db import ledger
from db.effects.events import event_data, event_key
from db.effects.learning import bumped_from
from db.engine import at_once
from db.rows import row_as
from domain.purchase import PurchaseOrder, Undone

_STEP = "clear_cart"

# Which cart item is the bought line: by processingItemId, the cart item's own id; else by courseId; else, for what is
# no course, by the line's item. Only one of two equal items goes: the other was not bought.
_BOUGHT: LiteralString = """
bought AS (
  SELECT student_id, item_type,
         metadata ->> 'processingItemId' AS cart_item_id,
         CASE WHEN item_type = 'course' THEN metadata ->> 'courseId' ELSE item_id END AS item_id
  FROM student_course_purchases WHERE id = :purchase_id
)"""
_FOUND: LiteralString = """
found AS (
  SELECT min(cart.id) AS id FROM cart_items AS cart JOIN bought ON cart.student_id = bought.student_id
  WHERE CASE WHEN bought.cart_item_id IS NOT NULL THEN cart.id = bought.cart_item_id
             ELSE cart.item_type = bought.item_type AND cart.item_id = bought.item_id END
)"""
_REMOVED: LiteralString = """
removed AS (
  DELETE FROM cart_items USING claim, found WHERE cart_items.id = found.id AND cart_items.student_id = :student_id
)"""
_LEFT_ALONE: LiteralString = "found AS (SELECT CAST(NULL AS text) AS id)"

# Raw: one statement, so that a purchase is completed with its event or not at all.
_COMPLETE: LiteralString = """
claim AS (
  INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
  SELECT :purchase_id, :attempt, 'clear_cart', 'done', jsonb_build_object('removed', found.id), :now FROM found
  ON CONFLICT (purchase_id, attempt, step) DO NOTHING
  RETURNING purchase_id
), passed AS (  -- this time or before: a row whose ending was lost gets it again
  SELECT purchase_id FROM claim UNION ALL
  SELECT purchase_id FROM purchase_steps
  WHERE purchase_id = :purchase_id AND attempt = :attempt AND step = 'clear_cart' AND state = 'done'
), skipped AS (
  SELECT decision.values ->> 'step' AS step, min(decided_at) AS at FROM operator_decisions AS decision
  WHERE decision.purchase_id = :purchase_id AND decision.attempt = :attempt AND verb = 'skip_step' GROUP BY 1
), told AS (
  INSERT INTO outbox (key, type, data, occurred_at)
  SELECT :key, 'PURCHASE_COMPLETED', CAST(:data AS jsonb) || jsonb_build_object(
    'skipped', (SELECT coalesce(jsonb_agg(step ORDER BY at), '[]') FROM skipped)), :now
  FROM passed ON CONFLICT (key) DO NOTHING
), finished AS (
  UPDATE student_course_purchases SET completed_at = :now FROM passed WHERE id = passed.purchase_id AND completed_at IS NULL
), ended AS (
  UPDATE purchase_starts SET ending = 'completed', ended_at = :now, refunded = coalesce(refunded, false)
  FROM passed WHERE purchase_starts.purchase_id = passed.purchase_id AND attempt = :attempt AND ending IS NULL
)"""


def _completing(found: LiteralString, *removed: LiteralString) -> TextClause:
    parts = ",".join((_BOUGHT, found, _COMPLETE, *removed, bumped_from("claim")))
    return text(
        f"""
WITH {parts}
SELECT (SELECT count(*) FROM claim) > 0 AS first, cart_item_id IS NULL AND item_id IS NULL AS unnamed
FROM (SELECT) AS always LEFT JOIN bought ON true"""  # noqa: S608 -- constants
    )


_WITH_CART, _WITHOUT_CART = _completing(_FOUND, _REMOVED), _completing(_LEFT_ALONE)


@dataclass(frozen=True)
class Completed:
    """What became of one try. `first`: it completed the purchase; `unnamed`: nothing names the line in the cart."""

    first: bool
    unnamed: bool


def complete(engine: Engine, order: PurchaseOrder, now: datetime, *, cart: bool = True) -> Completed:
    """Remove the line from the cart, store the ending and tell it, once: all in one statement and one transaction.

    A repeat leaves the cart alone: an equal item may have been put in later. With `cart` False the cart is left
    alone. Raises Refused("ALREADY_MADE_WHOLE") after `rule_out`.
    """
    values = {
        "purchase_id": order.purchase_id,
        "attempt": order.attempt,
        "student_id": order.student_id,
        "key": event_key(order, "PURCHASE_COMPLETED"),
        "data": json.dumps(event_data(order, ending="completed")),
        "now": now,
    }
    with at_once(engine) as connection:
        done = row_as(Completed, connection.execute(_WITH_CART if cart else _WITHOUT_CART, values))
        if not done.first:
            ledger.first_result(connection, order, _STEP)
    return done


def rule_out(engine: Engine, order: PurchaseOrder, now: datetime) -> Undone:
    """Make sure that the purchase is never completed at this attempt; `too_late`: it is completed already."""
    with at_once(engine) as connection:
        return Undone(changed=False, too_late=not ledger.rule_out(connection, order, _STEP, now))
