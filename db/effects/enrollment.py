"""Access to what was bought."""

from __future__ import annotations

from sqlalchemy import Engine

from db import ledger
from domain.purchase import PurchaseOrder, Undone

# A course is used as such; a subject or a bundle by its subjects, each of them a row.
_ENROLL = """
used AS (
  SELECT purchase_id, 'subject' AS item_type, subject_id AS item_id FROM claim JOIN purchase_subjects USING (purchase_id)
  UNION ALL
  SELECT id, item_type, item_id
  FROM claim JOIN student_course_purchases AS purchase ON purchase.id = claim.purchase_id
  WHERE fulfilment <> 'test_cards'
), enrolled AS (
  INSERT INTO enrollments (purchase_id, item_type, item_id, student_id, expires_on, enrolled_at, ended_at, expired)
  SELECT used.purchase_id, used.item_type, used.item_id, student_id, expires_on, now(), expired_at,
         expired_at IS NOT NULL
  FROM used JOIN student_course_purchases AS purchase ON purchase.id = used.purchase_id
)"""

_UNENROLL = "UPDATE enrollments SET ended_at = now() WHERE purchase_id = :purchase_id AND ended_at IS NULL"


def enroll(engine: Engine, order: PurchaseOrder) -> None:
    """Access through this purchase, until its expiry day if it has one; over at once if that is over already."""
    ledger.do(engine, order, "enroll", {}, _ENROLL)


def unenroll(engine: Engine, order: PurchaseOrder) -> Undone:
    """End the access through this purchase. Access through another purchase is a row of its own, so it stays."""
    return ledger.undo(engine, order, "enroll", _UNENROLL)
