"""Create, void and announce purchases, with ownership and events. No other file creates or voids one (row 49)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import LiteralString

from sqlalchemy import Engine, text

from db import ledger
from db.effects.creation_facts import CreationFacts
from db.effects.events import event_data, event_key
from db.effects.learning import BUMP, bumped_from
from db.effects.student_lock import lock_student
from db.engine import at_once
from domain.purchase import Announcement, PurchaseOrder, Undone
from domain.refusals import PAGING

# `subjects`: what the item is expanded to, once, and so for good (mission row 5).
# The new row comes after the older one gave way, by the join: only one purchase of an item is active (mission row 61).
_CREATE: LiteralString = f"""
superseded AS (
  UPDATE student_course_purchases AS older SET status = 'superseded', superseded_by = claim.purchase_id
  FROM claim WHERE older.id = :older AND older.status = 'active'
  RETURNING older.id
), purchase AS (
  INSERT INTO student_course_purchases (
    id, workflow_id, payment_id, line, student_id, item_type, item_id, fulfilment, status, session_count,
    session_count_source, metadata, metadata_sources, metadata_extras, warnings, series_start, expires_on, purchased_at)
  SELECT claim.purchase_id, :workflow_id, nullif(:payment_id, ''), :line, :student_id, :item_type, :item_id, :fulfilment, 'active',
    :session_count, :session_count_source, CAST(:metadata AS jsonb), CAST(:sources AS jsonb), CAST(:extras AS jsonb),
    CAST(:warnings AS jsonb), :series_start, :expires_on, :now
  FROM claim LEFT JOIN superseded ON true
  RETURNING *
), owned AS (
  INSERT INTO ownerships (purchase_id, item_type, item_id, student_id, purchased_at)
  SELECT id, item_type, item_id, student_id, purchased_at FROM purchase
), subjects AS (
  INSERT INTO purchase_subjects (purchase_id, subject_id)
  SELECT id, unnest(CAST(:subjects AS text[])) FROM purchase
), told AS (
  INSERT INTO outbox (key, type, data, occurred_at)
  SELECT :key, 'PURCHASE_CREATED', jsonb_build_object(
    'purchaseId', id, 'workflowId', workflow_id, 'paymentId', payment_id, 'line', line, 'studentId', student_id,
    'itemType', item_type, 'itemId', item_id, 'sessionCount', session_count, 'metadata', CAST(:for_others AS jsonb),
    'supersedes', (SELECT id FROM superseded)), purchased_at
  FROM purchase
), {bumped_from("purchase")}"""  # noqa: S608 -- constants

# A renewal that is taken back makes the older purchase active again; one that was itself renewed hands it on.
_VOID = """
WITH gone AS (
  UPDATE student_course_purchases SET status = 'voided', voided_at = :now
  WHERE id = :purchase_id AND status <> 'voided'
  RETURNING *
), restored AS (
  UPDATE student_course_purchases AS older
  SET status = CASE WHEN gone.superseded_by IS NULL THEN 'active' ELSE 'superseded' END,
      superseded_by = gone.superseded_by
  FROM gone WHERE older.superseded_by = gone.id AND older.status = 'superseded'
  RETURNING older.id
), revoked AS (
  UPDATE ownerships SET revoked_at = :now FROM gone WHERE ownerships.purchase_id = gone.id AND revoked_at IS NULL
)
INSERT INTO outbox (key, type, data, occurred_at)
SELECT :key, 'PURCHASE_VOIDED', jsonb_build_object(
  'purchaseId', id, 'workflowId', workflow_id, 'paymentId', payment_id, 'line', line, 'studentId', student_id,
  'itemType', item_type, 'itemId', item_id, 'restores', (SELECT id FROM restored LIMIT 1)), :now
FROM gone
ON CONFLICT (key) DO NOTHING
"""

# Raw: event and start change together, in one statement.
_ANNOUNCE = text("""
WITH told AS (
  INSERT INTO outbox (key, type, data, occurred_at)
  SELECT :key, :event, CAST(:data AS jsonb), :now WHERE CAST(:event AS text) <> ''
  ON CONFLICT (key) DO NOTHING
)
UPDATE purchase_starts
SET ending = :ending, code = :code, ended_at = :now, refunded = coalesce(refunded, false)
WHERE purchase_id = :purchase_id AND attempt = :attempt AND CAST(:ending AS text) IS NOT NULL
  AND ending IS NULL
""")


def create(
    engine: Engine, order: PurchaseOrder, facts: CreationFacts, *, now: datetime, **settled: object
) -> ledger.Json:
    """Write row, ownership, subjects, PURCHASE_CREATED, ledger; supersede the older one: all or nothing (rows 24, 27).

    Raises ledger.Stale when an operator decided something since the facts were read.
    """
    return ledger.do(
        engine,
        order,
        "create_purchase",
        {"fulfilment": facts.fulfilment, "itemId": facts.item_id, "expires": settled["expires_on"] is not None},
        _CREATE,
        workflow_id=order.workflow_id,
        payment_id=order.payment_id,
        line=order.line,
        student_id=order.student_id,
        key=event_key(order, "PURCHASE_CREATED"),
        older=facts.older,
        decisions=facts.decisions,
        item_type=facts.item_type,
        item_id=facts.item_id,
        fulfilment=facts.fulfilment,
        subjects=facts.subjects if facts.fulfilment == "test_cards" else [],
        now=now,
        **settled,
    )


def void(engine: Engine, order: PurchaseOrder, now: datetime) -> Undone:
    """Mark the purchase voided, never delete it; revoke its ownership and restore the purchase that it renewed."""
    with engine.begin() as connection:
        lock_student(connection, order)
        return ledger.undo_within(
            connection,
            order,
            "create_purchase",
            _VOID,
            BUMP,
            key=event_key(order, "PURCHASE_VOIDED"),
            now=now,
            student_id=order.student_id,
        )


def announce(engine: Engine, what: Announcement, now: datetime) -> None:
    """Write the event, once per purchase and kind, and the first ending, on the row that outlives the workflow."""
    order = what.order
    data = event_data(order, ending=what.ending, code=what.code, skipped=what.skipped or ())
    values = {
        "purchase_id": order.purchase_id,
        "attempt": order.attempt,
        "key": event_key(order, what.event, what.code if what.code in PAGING else ""),
        "event": what.event,
        "ending": what.ending or None,
        "code": what.code or None,
        "data": json.dumps(data),
        "now": now,
    }
    with at_once(engine) as connection:
        connection.execute(_ANNOUNCE, values)
