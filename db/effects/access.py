"""End access with time, and extend it. History stays: nothing is deleted, no ownership is revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from db.effects.decisions import read_settled, write_access_until, write_settled
from db.effects.student_lock import lock_student
from db.reads.cases import ACT, KnownAct
from db.rows import optional_row_as
from domain.amendments import amended
from domain.ids import event_key_of
from domain.purchase import PurchaseOrder

# Raw: the purchase alone is locked, and read with what its ledger says.
_FACTS = text("""
SELECT purchase.superseded_by, purchase.expires_on, purchase.expired_at, student.timezone,
       purchase.status = 'voided' OR EXISTS (
         SELECT FROM purchase_starts AS start JOIN purchase_steps AS step USING (purchase_id, attempt)
         WHERE start.purchase_id = purchase.id AND step.state = 'undone') AS taken_back
FROM student_course_purchases AS purchase JOIN students AS student ON student.id = purchase.student_id
WHERE purchase.id = :purchase_id FOR NO KEY UPDATE OF purchase
""")

# Raw: one statement ends all of it. Told once per last day: an extension may be followed by another end.
_END = text("""
WITH over AS (
  UPDATE student_course_purchases SET expired_at = :now
  WHERE id = :purchase_id AND expires_on = :last_day AND expired_at IS NULL AND status <> 'voided'
  RETURNING *
), ended AS (
  UPDATE enrollments SET ended_at = :now, expired = true
  FROM over WHERE enrollments.purchase_id = over.id AND enrollments.ended_at IS NULL
), seen AS (
  INSERT INTO learning_versions AS kept (student_id, version) SELECT student_id, 1 FROM over
  ON CONFLICT (student_id) DO UPDATE SET version = kept.version + 1
), told AS (
  INSERT INTO outbox (key, type, data, occurred_at)
  SELECT :key || expires_on, 'PURCHASE_EXPIRED', jsonb_build_object(
    'purchaseId', id, 'workflowId', workflow_id, 'paymentId', payment_id, 'line', line, 'studentId', student_id,
    'itemType', item_type, 'itemId', item_id, 'lastDay', expires_on), :now
  FROM over
  ON CONFLICT (key) DO NOTHING
)
SELECT count(*) FROM over
""")

# Raw: it locks and reads nothing.
_LOCK = text("SELECT FROM purchase_starts WHERE purchase_id = :purchase_id FOR UPDATE")
# Raw: the event is made of the row in the statement that tells of it.
_EXTENDED = text("""
WITH longer AS (SELECT * FROM student_course_purchases WHERE id = :purchase_id), seen AS (
  INSERT INTO learning_versions AS kept (student_id, version) SELECT student_id, 1 FROM longer
  ON CONFLICT (student_id) DO UPDATE SET version = kept.version + 1
)
INSERT INTO outbox (key, type, data, occurred_at)
SELECT :key || expires_on, 'PURCHASE_EXTENDED', jsonb_build_object(
  'purchaseId', id, 'workflowId', workflow_id, 'paymentId', payment_id, 'line', line, 'studentId', student_id,
  'itemType', item_type, 'itemId', item_id, 'lastDay', expires_on), :now
FROM longer
ON CONFLICT (key) DO NOTHING
""")


@dataclass(frozen=True)
class AccessFacts:
    """A purchase with its last day and its student's zone. `taken_back`: it is being undone, or was."""

    superseded_by: str | None
    expires_on: date | None
    expired_at: datetime | None
    timezone: str | None
    taken_back: bool


def facts(connection: Connection, order: PurchaseOrder) -> AccessFacts | None:
    """Lock student and purchase and read how the access stands; return None when there is no purchase row."""
    lock_student(connection, order)
    return optional_row_as(AccessFacts, connection.execute(_FACTS, {"purchase_id": order.purchase_id}))


def end(connection: Connection, order: PurchaseOrder, last_day: date, now: datetime) -> None:
    """End the access that lasted until this day: purchase, enrollments, learning page and event in one statement."""
    values = {
        "purchase_id": order.purchase_id,
        "last_day": last_day,
        "key": _key(order, "PURCHASE_EXPIRED"),
        "now": now,
    }
    connection.execute(_END, values)


def acted(connection: Connection, order: PurchaseOrder, request_key: str) -> KnownAct | None:
    """Lock the student and the purchase's start; return the act with this key, None if there was none."""
    lock_student(connection, order)
    connection.execute(_LOCK, {"purchase_id": order.purchase_id})
    return optional_row_as(KnownAct, connection.execute(ACT, {"id": order.purchase_id, "request_key": request_key}))


def extend(connection: Connection, order: PurchaseOrder, until: date, now: datetime) -> None:
    """Extend access to this day, even if it had expired; amend the metadata and write PURCHASE_EXTENDED."""
    settled, _ = read_settled(connection, order)
    write_settled(connection, order, amended(settled, {"expiryDate": until.isoformat()}))
    write_access_until(connection, order, until)
    values = {"purchase_id": order.purchase_id, "key": _key(order, "PURCHASE_EXTENDED"), "now": now}
    connection.execute(_EXTENDED, values)


def _key(order: PurchaseOrder, event: str) -> str:
    """Return the start of the event's key; the last day is appended to it."""
    return event_key_of(order.purchase_id, event, "@")
