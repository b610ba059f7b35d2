"""Store what operators decide, once, and its direct effect on the purchase row; record their acts in the audit.

Lock order, everywhere: the student, then the purchase's start, then its allocation, then one trainer. Whoever decides
locks the start first, so the decisions of one purchase come one after the other; and counts them there, so that a step
that has read them can tell whether they are still the last ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, or_, select, text, update
from sqlmodel import col

from db.effects.student_lock import lock_student
from db.engine import at_once
from db.rows import optional_row_as, row_as
from db.tables import Enrollment, Purchase, PurchaseStart, Trainer
from domain.acts import ActRecord, Decision
from domain.amendments import PurchaseTerms
from domain.purchase import PurchaseOrder

_COUNT_ONE = (
    update(PurchaseStart)
    .where(col(PurchaseStart.purchase_id) == bindparam("purchase"))
    .values({col(PurchaseStart.decisions): col(PurchaseStart.decisions) + 1})
    .returning(col(PurchaseStart.attempt), col(PurchaseStart.ending))
)
_TRAINER = select(col(Trainer.id)).where(col(Trainer.id) == bindparam("id"))
_METADATA = select(
    col(Purchase.fields),
    col(Purchase.metadata_sources),
    col(Purchase.metadata_extras),
    col(Purchase.warnings),
    col(Purchase.session_count),
    col(Purchase.session_count_source),
    col(Purchase.series_start),
    col(Purchase.fulfilment),
).where(col(Purchase.id) == bindparam("purchase"))

# Raw: steps and allocation in one row, whichever there are. A statement of its own after the lock, so that it sees what
# was committed while the lock was waited for.
_SCENE = text("""
SELECT (SELECT coalesce(jsonb_object_agg(step, state), '{}') FROM purchase_steps
        WHERE purchase_id = :purchase_id AND attempt = :attempt) AS steps,
       allocation.id AS allocation_id, allocation.status, allocation.metadata -> 'sessionCount' AS allocated
FROM (SELECT) AS always
LEFT JOIN allocations AS allocation ON allocation.purchase_id = :purchase_id AND allocation.status <> 'cancelled'
""")

# Raw: one question of two tables. What this key names already: an act on record, or a decision whose act is under way.
_NAMED = text("""
SELECT verb, values, outcome FROM operator_acts WHERE purchase_id = :purchase_id AND request_key = :request_key
UNION ALL
SELECT verb, values, NULL FROM operator_decisions WHERE purchase_id = :purchase_id AND request_key = :request_key
LIMIT 1
""")

# Raw: its time comes of those before it. Two decisions under one clock reading still have an order.
_STORE = text("""
INSERT INTO operator_decisions (purchase_id, request_key, attempt, verb, values, actor, reason, decided_at)
SELECT :purchase_id, :request_key, :attempt, :verb, CAST(:values AS jsonb), :actor, :reason,
       greatest(CAST(:now AS timestamptz), max(decided_at) + interval '1 microsecond')
FROM operator_decisions WHERE purchase_id = :purchase_id
""")

# Raw: JSON is changed where it is.
_MEND_COUNT = text("""
UPDATE allocations
SET metadata = metadata || jsonb_build_object('sessionCount', CAST(:count AS integer), 'sessionCountSource', CAST(:source AS text))
WHERE purchase_id = :purchase_id AND status <> 'cancelled'
""")

# Raw: the first of a key stays.
_RECORD = text("""
INSERT INTO operator_acts
  (purchase_id, request_key, verb, values, actor, second_actor, reason, before, after, outcome, acted_at)
VALUES (:purchase_id, :request_key, :verb, CAST(:values AS jsonb), :actor, :second_actor, :reason,
        CAST(:before AS jsonb), CAST(:after AS jsonb), :outcome, :now)
ON CONFLICT (purchase_id, request_key) DO NOTHING
""")


@dataclass(frozen=True)
class _StepsAndAllocation:
    steps: dict[str, str]
    allocation_id: str | None
    status: str | None
    allocated: object


@dataclass(frozen=True)
class Scene(_StepsAndAllocation):
    """How a purchase stands when an operator decides about it; its start is locked until the transaction ends.

    `steps`: done or undone, of the order's attempt. `allocated`: how many lessons its live allocation says it has.
    """

    attempt: int
    ending: str | None


@dataclass(frozen=True)
class Named:
    """The act that a request key names. `values` None: not kept (an older act). `outcome` None: it is under way."""

    verb: str
    values: dict[str, Any] | None
    outcome: str | None


def named(connection: Connection, decision: Decision) -> Named | None:
    """Return the act that used this key on this purchase, at whatever attempt; None when the key is new."""
    key = _key(decision.order) | {"request_key": decision.request_key}
    return optional_row_as(Named, connection.execute(_NAMED, key))


def scene(connection: Connection, decision: Decision) -> Scene | None:
    """Lock the purchase's start and count one more decision; return None when no such purchase was ever started.

    A decision on `expiryDate` locks the student first, to take turns with those who give and end access.
    """
    if "expiryDate" in decision.values:
        lock_student(connection, decision.order)
    start = connection.execute(_COUNT_ONE, {"purchase": decision.order.purchase_id}).one_or_none()
    if start is None:
        return None
    attempt, ending = start
    found = row_as(_StepsAndAllocation, connection.execute(_SCENE, _key(decision.order)))
    return Scene(**vars(found), attempt=attempt, ending=ending)


def trainer_known(connection: Connection, trainer_id: str) -> bool:
    """Return whether there is such a trainer."""
    return connection.execute(_TRAINER, {"id": trainer_id}).one_or_none() is not None


def store(connection: Connection, decision: Decision, now: datetime) -> None:
    """Insert the decision's row, timed later than all others of the purchase."""
    values = {
        **_key(decision.order), "request_key": decision.request_key, "verb": decision.verb,
        "values": json.dumps(decision.values), "actor": decision.actor, "reason": decision.reason, "now": now,
    }  # fmt: skip
    connection.execute(_STORE, values)


def read_settled(connection: Connection, order: PurchaseOrder) -> tuple[PurchaseTerms, str]:
    """Return the terms that the purchase row holds, and its fulfilment."""
    found = connection.execute(_METADATA, {"purchase": order.purchase_id}).one()
    fields, sources, extras, warnings, count, source, series_start, fulfilment = found
    return PurchaseTerms(fields, sources, extras, warnings, count, source, series_start), fulfilment


def write_settled(connection: Connection, order: PurchaseOrder, settled: PurchaseTerms) -> None:
    """Store the terms in the purchase row; its extras, the buyer's own words, stay as they were."""
    row = update(Purchase).where(col(Purchase.id) == order.purchase_id)
    connection.execute(
        row.values(
            {
                col(Purchase.fields): settled.fields,
                col(Purchase.metadata_sources): settled.sources,
                col(Purchase.warnings): settled.warnings,
                col(Purchase.session_count): settled.session_count,
                col(Purchase.session_count_source): settled.session_count_source,
                col(Purchase.series_start): settled.series_start,
            }
        )
    )


def write_access_until(connection: Connection, order: PurchaseOrder, until: date | None) -> None:
    """Set the last day of the purchase and of its access (None: no end); access that had expired is given again."""
    purchase = update(Purchase).where(col(Purchase.id) == order.purchase_id)
    connection.execute(purchase.values({col(Purchase.expires_on): until, col(Purchase.expired_at): None}))
    access = update(Enrollment).where(
        col(Enrollment.purchase_id) == order.purchase_id,
        or_(col(Enrollment.ended_at).is_(None), col(Enrollment.expired)),
    )
    lasting = {col(Enrollment.expires_on): until, col(Enrollment.ended_at): None, col(Enrollment.expired): False}
    connection.execute(access.values(lasting))


def mend_count(connection: Connection, order: PurchaseOrder, settled: PurchaseTerms) -> None:
    """Store in the live allocation how many lessons it has."""
    count = {"count": settled.session_count, "source": settled.session_count_source}
    connection.execute(_MEND_COUNT, _key(order) | count)


def record(engine: Engine, act: ActRecord, now: datetime) -> None:
    """Insert the act's row in the audit; a repeat leaves the first as it is."""
    with at_once(engine) as connection:
        record_in(connection, act, now)


def record_in(connection: Connection, act: ActRecord, now: datetime) -> bool:
    """Act as `record` in the caller's transaction; return whether this is the first act of its key."""
    values = {
        **_key(act.order), "request_key": act.request_key, "verb": act.verb, "values": json.dumps(act.values), "actor": act.actor,
        "second_actor": act.second_actor or None, "reason": act.reason, "before": json.dumps(act.before),
        "after": json.dumps(act.after), "outcome": act.outcome, "now": now,
    }  # fmt: skip
    return connection.execute(_RECORD, values).rowcount == 1


def _key(order: PurchaseOrder) -> dict[str, object]:
    return {"purchase_id": order.purchase_id, "attempt": order.attempt}
