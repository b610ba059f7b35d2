"""Give and end access to what was bought."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

from sqlalchemy import Engine

from db import ledger
from db.effects.learning import BUMP, bumped_from
from db.effects.student_lock import lock_student
from domain.purchase import PurchaseOrder, Undone

# A course is used as such; a subject or a bundle by its subjects, each of them a row. The purchase is locked as it is
# by now: whoever ends its access waits for this, or has ended it already.
_ENROLL: LiteralString = f"""
bought AS MATERIALIZED (
  SELECT purchase.* FROM claim JOIN student_course_purchases AS purchase ON purchase.id = claim.purchase_id
  FOR SHARE OF purchase
), used AS (
  SELECT id, 'subject' AS item_type, subject_id AS item_id FROM bought JOIN purchase_subjects ON purchase_id = id
  UNION ALL
  SELECT id, item_type, item_id FROM bought WHERE fulfilment <> 'test_cards'
), enrolled AS (
  INSERT INTO enrollments (purchase_id, item_type, item_id, student_id, expires_on, enrolled_at, ended_at, expired)
  SELECT used.id, used.item_type, used.item_id, student_id, expires_on, :now, expired_at, expired_at IS NOT NULL
  FROM used JOIN bought USING (id)
), {bumped_from("bought")}"""  # noqa: S608 -- constants

_UNENROLL = "UPDATE enrollments SET ended_at = :now WHERE purchase_id = :purchase_id AND ended_at IS NULL"


def enroll(engine: Engine, order: PurchaseOrder, now: datetime) -> None:
    """Enroll the student through this purchase until its last day; already expired if that day has passed."""
    ledger.do(engine, order, "enroll", {}, _ENROLL, now=now, student_id=order.student_id)


def unenroll(engine: Engine, order: PurchaseOrder, now: datetime) -> Undone:
    """End the access through this purchase. Access through another purchase is a row of its own, so it stays."""
    with engine.begin() as connection:
        lock_student(connection, order)
        return ledger.undo_within(connection, order, "enroll", _UNENROLL, BUMP, now=now, student_id=order.student_id)
