"""Replan an allocation that stands: free its slots, hold new ones and move its lessons along, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import ExclusionViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from db.effects.candidates import step_key
from db.ledger import Json
from db.rows import optional_row_as
from db.teaching import LESSONS, slots
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from domain.schedule import Lesson

# Raw: they lock and read nothing.
_LOCK = (
    text("SELECT FROM purchase_starts WHERE purchase_id = :purchase_id FOR SHARE"),
    text("SELECT FROM allocations WHERE purchase_id = :purchase_id AND status <> 'cancelled' FOR NO KEY UPDATE"),
    text("""
      SELECT FROM trainers WHERE id IN (
        SELECT trainer_id FROM allocations WHERE purchase_id = :purchase_id AND status <> 'cancelled'
        UNION SELECT slot.trainer_id FROM trainer_slots AS slot JOIN allocations ON allocations.id = slot.allocation_id
        WHERE purchase_id = :purchase_id AND allocations.status <> 'cancelled' AND slot.status = 'held'
      ) ORDER BY id FOR NO KEY UPDATE
    """),
)

# Raw: the last decision of several. After the locks, so that it sees all that was committed while they were waited for.
# Lessons that have begun stay.
_STANDING = text("""
SELECT allocation.id AS allocation_id, allocation.trainer_id, allocation.metadata ->> 'plannedBy' AS planned_by,
       decision.request_key, decision.values AS overrides, step.state,
       ARRAY(SELECT number FROM sessions WHERE sessions.allocation_id = allocation.id AND sessions.status = 'scheduled'
             ORDER BY number) AS scheduled,
       ARRAY(SELECT number FROM sessions WHERE sessions.allocation_id = allocation.id AND sessions.status = 'scheduled'
             AND starts_at <= :now ORDER BY number) AS begun
FROM allocations AS allocation
JOIN LATERAL (
  SELECT request_key, decided.values FROM operator_decisions AS decided
  WHERE purchase_id = :purchase_id AND decided.attempt = :attempt AND verb = 'create_sessions'
  ORDER BY decided_at DESC LIMIT 1
) AS decision ON true
LEFT JOIN purchase_steps AS step
  ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'create_sessions'
WHERE allocation.purchase_id = :purchase_id AND allocation.status = 'approved'
""")

# Raw, as all below: any number of lessons is one statement.
_LET_GO = text("""
UPDATE trainer_slots SET status = 'cancelled'
WHERE allocation_id = :allocation_id AND status = 'held' AND number <> ALL(CAST(:begun AS integer[]))
""")
_HOLD_AGAIN = text(f"""
INSERT INTO trainer_slots
  (allocation_id, number, trainer_id, student_id, during, local_start, zone, clock, asked_start, status)
SELECT :allocation_id, number, :trainer_id, :student_id, tstzrange(starts_at, ends_at, '[)'), local_start, :zone,
       clock, asked_start, 'held'
FROM {LESSONS}
ON CONFLICT (allocation_id, number) DO UPDATE
SET trainer_id = excluded.trainer_id, during = excluded.during, local_start = excluded.local_start,
    zone = excluded.zone, clock = excluded.clock, asked_start = excluded.asked_start, status = 'held'
""")  # noqa: S608 -- a constant
# Also for lessons that are changed one by one.
LESSONS_FOLLOW = text("""
UPDATE sessions
SET starts_at = lower(slot.during), ends_at = upper(slot.during), local_start = slot.local_start,
    zone = slot.zone, clock = slot.clock, asked_start = slot.asked_start, status = 'scheduled'
FROM trainer_slots AS slot
WHERE sessions.allocation_id = :allocation_id AND sessions.number = ANY(CAST(:numbers AS integer[]))
  AND slot.allocation_id = sessions.allocation_id AND slot.number = sessions.number
""")
_CANCEL_OTHERS = text("""
UPDATE sessions SET status = 'cancelled'
WHERE allocation_id = :allocation_id AND status = 'scheduled'
  AND number <> ALL(CAST(:numbers AS integer[])) AND number <> ALL(CAST(:begun AS integer[]))
""")
_SAY_SO = text("UPDATE allocations SET metadata = metadata || CAST(:metadata AS jsonb) WHERE id = :allocation_id")


@dataclass(frozen=True)
class Standing:
    """The approved allocation, locked with the trainers of its slots, and the last decision to create sessions.

    `scheduled` are the numbers of all its lessons, `begun` those that have begun and therefore stay as they are.
    """

    allocation_id: str
    trainer_id: str
    planned_by: str | None
    request_key: str
    overrides: Json
    state: str | None
    scheduled: list[int]
    begun: list[int]


def lock_standing(connection: Connection, order: PurchaseOrder, now: datetime) -> Standing | None:
    """Lock start, allocation and trainers, then read; return None when none is approved or no decision was made."""
    for lock in _LOCK:
        connection.execute(lock, step_key(order))
    return optional_row_as(Standing, connection.execute(_STANDING, {**step_key(order), "now": now}))


def let_go(connection: Connection, standing: Standing) -> None:
    """Free the slots of all lessons that have not begun."""
    connection.execute(_LET_GO, {"allocation_id": standing.allocation_id, "begun": standing.begun})


def hold_again(
    connection: Connection, order: PurchaseOrder, standing: Standing, lessons: Sequence[Lesson], zone: str
) -> None:
    """Hold these lessons for the trainer, move lessons made before to their slots, cancel the numbers left over.

    Raises SESSIONS_FAILED when trainer or student was taken meanwhile: the transaction is broken, roll it back.
    """
    values = {
        **step_key(order), **slots(lessons), "zone": zone,
        "allocation_id": standing.allocation_id, "trainer_id": standing.trainer_id, "begun": standing.begun,
    }  # fmt: skip
    try:
        connection.execute(_HOLD_AGAIN, values)
    except IntegrityError as error:
        if isinstance(error.orig, ExclusionViolation):
            clash = error.orig.diag.message_detail or "a time was taken meanwhile"
            raise Refused("SESSIONS_FAILED", f"the lessons cannot be moved: {clash}") from error
        raise
    for statement in (LESSONS_FOLLOW, _CANCEL_OTHERS):
        connection.execute(statement, values)


def say_so(connection: Connection, standing: Standing, metadata: Json) -> None:
    """Store in the allocation what it holds now, and for which decision it was planned."""
    told = {**metadata, "plannedBy": standing.request_key}
    connection.execute(_SAY_SO, {"allocation_id": standing.allocation_id, "metadata": json.dumps(told)})


def left_over(wanted: int, standing: Standing) -> list[int]:
    """Return the numbers of 1..`wanted` whose lesson has not begun."""
    return sorted(set(range(1, wanted + 1)) - set(standing.begun))
