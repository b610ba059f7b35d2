"""What operators decided, stored once, and its direct effect on the purchase row; the audit of their acts.

Lock order, everywhere: the student, then the purchase's start, then its allocation, then one trainer. Whoever decides
locks the start first, so the decisions of one purchase come one after the other; and counts them there, so that a step
that has read them can tell whether they are still the last ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from db.effects.turns import lock_student
from db.engine import at_once
from domain.acts import ActRecord, Decision
from domain.amendments import Settled
from domain.purchase import PurchaseOrder

_NEXT = text("""
UPDATE purchase_starts SET decisions = decisions + 1 WHERE purchase_id = :purchase_id RETURNING attempt, ending
""")

# A statement of its own after the lock, so that it sees what was committed while the lock was waited for.
_SCENE = text("""
SELECT (SELECT coalesce(jsonb_object_agg(step, state), '{}') FROM purchase_steps
        WHERE purchase_id = :purchase_id AND attempt = :attempt) AS steps,
       allocation.id AS allocation_id, allocation.status, allocation.metadata -> 'sessionCount' AS allocated
FROM (SELECT) AS always
LEFT JOIN allocations AS allocation ON allocation.purchase_id = :purchase_id AND allocation.status <> 'cancelled'
""")

# What this key names already: an act on record, or a decision whose act is under way.
_NAMED = text("""
SELECT verb, values, outcome FROM operator_acts WHERE purchase_id = :purchase_id AND request_key = :request_key
UNION ALL
SELECT verb, values, NULL FROM operator_decisions WHERE purchase_id = :purchase_id AND request_key = :request_key
LIMIT 1
""")

_TRAINER = text("SELECT FROM trainers WHERE id = :id")

# Two decisions under one clock reading still have an order.
_STORE = text("""
INSERT INTO operator_decisions (purchase_id, request_key, attempt, verb, values, actor, reason, decided_at)
SELECT :purchase_id, :request_key, :attempt, :verb, CAST(:values AS jsonb), :actor, :reason,
       greatest(CAST(:now AS timestamptz), max(decided_at) + interval '1 microsecond')
FROM operator_decisions WHERE purchase_id = :purchase_id
""")

_SETTLED = text("""
SELECT metadata, metadata_sources, metadata_extras, warnings, session_count, session_count_source, series_start,
       fulfilment
FROM student_course_purchases WHERE id = :purchase_id
""")
_SETTLE = text("""
UPDATE student_course_purchases
SET metadata = CAST(:metadata AS jsonb), metadata_sources = CAST(:sources AS jsonb), warnings = CAST(:warnings AS jsonb),
    session_count = :session_count, session_count_source = :session_count_source, series_start = :series_start
WHERE id = :purchase_id
""")
_ACCESS_UNTIL = (
    text("UPDATE student_course_purchases SET expires_on = :until, expired_at = NULL WHERE id = :purchase_id"),
    text("""
    UPDATE enrollments SET expires_on = :until, ended_at = NULL, expired = false
    WHERE purchase_id = :purchase_id AND (ended_at IS NULL OR expired)
    """),
)
_MEND_COUNT = text("""
UPDATE allocations
SET metadata = metadata || jsonb_build_object('sessionCount', CAST(:count AS integer), 'sessionCountSource', CAST(:source AS text))
WHERE purchase_id = :purchase_id AND status <> 'cancelled'
""")

_RECORD = text("""
INSERT INTO operator_acts
  (purchase_id, request_key, verb, values, actor, second_actor, reason, before, after, outcome, acted_at)
VALUES (:purchase_id, :request_key, :verb, CAST(:values AS jsonb), :actor, :second_actor, :reason,
        CAST(:before AS jsonb), CAST(:after AS jsonb), :outcome, :now)
ON CONFLICT (purchase_id, request_key) DO NOTHING
""")


@dataclass(frozen=True)
class Scene:
    """Where a purchase stands when something is decided of it; the start is locked until the transaction ends.

    `steps`: done or undone, of the order's attempt. `allocated`: how many lessons its live allocation says it has.
    """

    attempt: int
    ending: str | None
    steps: dict[str, str]
    allocation_id: str | None
    status: str | None
    allocated: Any


@dataclass(frozen=True)
class Named:
    """The act that a request key names. `values` None: not kept (an act of before). `outcome` None: it is under way."""

    verb: str
    values: dict[str, Any] | None
    outcome: str | None


def named(connection: Connection, decision: Decision) -> Named | None:
    """What this key was used for, of this purchase, whatever start it is at; None: it is new."""
    row = connection.execute(_NAMED, _key(decision.order) | {"request_key": decision.request_key}).one_or_none()
    return Named(row.verb, row.values, row.outcome) if row else None


def scene(connection: Connection, decision: Decision) -> Scene | None:
    """Locks the purchase's start and counts one more decision; None when no such purchase was ever started.

    Whoever changes until when access lasts takes turns with those who give and end it, too.
    """
    if "expiryDate" in decision.values:
        lock_student(connection, decision.order)
    key = _key(decision.order)
    start = connection.execute(_NEXT, key).one_or_none()
    if start is None:
        return None
    row = connection.execute(_SCENE, key).one()
    return Scene(start.attempt, start.ending, row.steps, row.allocation_id, row.status, row.allocated)


def trainer_known(connection: Connection, trainer_id: str) -> bool:
    """Whether there is such a trainer."""
    return connection.execute(_TRAINER, {"id": trainer_id}).one_or_none() is not None


def store(connection: Connection, decision: Decision, now: datetime) -> None:
    """The decision's row, later than all others of the purchase."""
    values = {
        **_key(decision.order), "request_key": decision.request_key, "verb": decision.verb,
        "values": json.dumps(decision.values), "actor": decision.actor, "reason": decision.reason, "now": now,
    }  # fmt: skip
    connection.execute(_STORE, values)


def read_settled(connection: Connection, order: PurchaseOrder) -> tuple[Settled, str]:
    """What the purchase row holds of its metadata, and its fulfilment."""
    row = connection.execute(_SETTLED, _key(order)).one()
    settled = Settled(
        row.metadata, row.metadata_sources, row.metadata_extras, row.warnings,
        row.session_count, row.session_count_source, row.series_start,
    )  # fmt: skip
    return settled, row.fulfilment


def write_settled(connection: Connection, order: PurchaseOrder, settled: Settled) -> None:
    """The purchase row holds this from now on; its extras, the buyer's own words, stay as they were."""
    values = {
        **_key(order), "metadata": json.dumps(settled.fields), "sources": json.dumps(settled.sources),
        "warnings": json.dumps(settled.warnings), "session_count": settled.session_count,
        "session_count_source": settled.session_count_source, "series_start": settled.series_start,
    }  # fmt: skip
    connection.execute(_SETTLE, values)


def write_access_until(connection: Connection, order: PurchaseOrder, until: date | None) -> None:
    """The purchase and the access it gives end on this day; access that had expired is there again."""
    for statement in _ACCESS_UNTIL:
        connection.execute(statement, {**_key(order), "until": until})


def mend_count(connection: Connection, order: PurchaseOrder, settled: Settled) -> None:
    """The live allocation says how many lessons it has."""
    count = {"count": settled.session_count, "source": settled.session_count_source}
    connection.execute(_MEND_COUNT, _key(order) | count)


def record(engine: Engine, act: ActRecord, now: datetime) -> None:
    """The act's row in the audit; a repeat leaves the first as it is."""
    with at_once(engine) as connection:
        record_in(connection, act, now)


def record_in(connection: Connection, act: ActRecord, now: datetime) -> bool:
    """The same in the caller's transaction; whether this is the first of its key."""
    values = {
        **_key(act.order), "request_key": act.request_key, "verb": act.verb, "values": json.dumps(act.values), "actor": act.actor,
        "second_actor": act.second_actor or None, "reason": act.reason, "before": json.dumps(act.before),
        "after": json.dumps(act.after), "outcome": act.outcome, "now": now,
    }  # fmt: skip
    return connection.execute(_RECORD, values).rowcount == 1


def _key(order: PurchaseOrder) -> dict[str, object]:
    return {"purchase_id": order.purchase_id, "attempt": order.attempt}
