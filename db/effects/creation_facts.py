"""Read what create_purchase decides by, as of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Engine, text

from db.engine import at_once
from db.ledger import Json
from db.rows import row_as
from domain.purchase import PurchaseOrder

# Raw: all that decides about a purchase, as of one moment.
# `asked`: what an operator made of the line, the latest word on each; the count of decisions is read with them.
# `bought`: what was paid for or, without a payment, asked for. A course from the free door is ownership only.
_FACTS = text("""
WITH asked AS (
  SELECT coalesce(jsonb_agg(amendment.values ORDER BY decided_at), '[]') AS amendments,
         (array_agg(amendment.values ->> 'itemType' ORDER BY decided_at DESC)
            FILTER (WHERE amendment.values ? 'itemType'))[1] AS item_type,
         (array_agg(amendment.values ->> 'itemId' ORDER BY decided_at DESC)
            FILTER (WHERE amendment.values ? 'itemId'))[1] AS item_id
  FROM operator_decisions AS amendment
  WHERE purchase_id = :purchase_id AND attempt = :attempt AND verb = 'amend'
), bought AS (
  SELECT payment_id, line, item_type, item_id, coins FROM payment_lines WHERE payment_id = :payment_id AND line = :line
  UNION ALL
  SELECT NULL, 1, item_type, item_id, 0 FROM purchase_requests
  WHERE purchase_id = :purchase_id AND CAST(:payment_id AS text) = ''
), line AS (
  SELECT payment_id, line, coalesce(asked.item_type, bought.item_type) AS item_type,
         coalesce(asked.item_id, bought.item_id) AS item_id, bought.coins, asked.amendments
  FROM bought, asked
)
SELECT line.item_type, line.item_id, line.coins, line.amendments, item.open,
       CASE WHEN item.fulfilment = 'sessions' AND :origin = 'free' THEN 'ownership' ELSE item.fulfilment END AS fulfilment,
       ARRAY(SELECT subject_id FROM bundle_subjects WHERE line.item_type = 'bundle' AND bundle_id = line.item_id
             UNION SELECT line.item_id WHERE line.item_type = 'subject' ORDER BY 1) AS subjects,
       ARRAY(SELECT subject_id FROM bundle_subjects WHERE line.item_type = 'bundle' AND bundle_id = line.item_id
             AND NOT EXISTS (SELECT FROM catalogue_items WHERE item_type = 'subject' AND id = subject_id)
             ORDER BY 1) AS unknown_subjects,
       (SELECT supersede FROM purchase_requests WHERE purchase_id = :purchase_id) AS supersede,
       (SELECT decisions FROM purchase_starts WHERE purchase_id = :purchase_id) AS decisions,
       payment.created_at AS paid_at,
       confirmed.state AS confirmed_state, confirmed.result AS confirmed,
       kept.state, kept.result,
       holder.student_id AS holder,
       older.id AS older, older.payment_id AS older_payment, older.session_count AS older_count,
       older.expires_on AS older_expires_on, older_payment.created_at AS older_paid_at,
       (SELECT timezone FROM students WHERE id = :student_id) AS timezone
FROM line
LEFT JOIN payments AS payment ON payment.id = line.payment_id
LEFT JOIN catalogue_items AS item ON item.item_type = line.item_type AND item.id = line.item_id
LEFT JOIN purchase_steps AS confirmed
  ON confirmed.purchase_id = :purchase_id AND confirmed.attempt = :attempt AND confirmed.step = 'confirm_payment'
LEFT JOIN purchase_steps AS kept
  ON kept.purchase_id = :purchase_id AND kept.attempt = :attempt AND kept.step = 'create_purchase'
LEFT JOIN student_course_purchases AS holder ON holder.payment_id = line.payment_id AND holder.line = line.line
LEFT JOIN student_course_purchases AS older
  ON older.student_id = :student_id AND older.item_type = line.item_type AND older.item_id = line.item_id
  AND older.status = 'active' AND older.id <> :purchase_id
LEFT JOIN payments AS older_payment ON older_payment.id = older.payment_id
""")


@dataclass(frozen=True)
class CreationFacts:
    """The line with its item as amended, what confirm_payment settled, who holds the line, the older active purchase.

    `open` and `fulfilment` None: the catalogue has no such item. `decisions`: how many there were when this was read.
    """

    item_type: str
    item_id: str
    coins: int
    amendments: list[Json]
    open: bool | None
    fulfilment: str | None
    subjects: list[str]
    unknown_subjects: list[str]
    supersede: bool | None
    decisions: int
    paid_at: datetime | None
    confirmed_state: str | None
    confirmed: Json | None
    state: str | None
    result: Json | None
    holder: str | None
    older: str | None
    older_payment: str | None
    older_count: int | None
    older_expires_on: date | None
    older_paid_at: datetime | None
    timezone: str | None


def creation_facts(engine: Engine, order: PurchaseOrder) -> CreationFacts:
    """Read what create_purchase decides by, in one round trip."""
    with at_once(engine) as connection:
        return creation_facts_in(connection, order)


def creation_facts_in(connection: Connection, order: PurchaseOrder) -> CreationFacts:
    """Act as `creation_facts` in the caller's transaction."""
    values = {
        "purchase_id": order.purchase_id,
        "attempt": order.attempt,
        "payment_id": order.payment_id,
        "line": order.line,
        "student_id": order.student_id,
        "origin": order.origin,
    }
    return row_as(CreationFacts, connection.execute(_FACTS, values))
