"""Hold a trainer with all the slots for a purchase, approve the allocation, release it.

Lock order, everywhere: the student, the purchase's start, its allocation, then the trainer: several in one statement, by
their ids, before any of their slots. So racing purchases cannot deadlock. The EXCLUDE constraints are the last guard.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import LiteralString

from psycopg.errors import ExclusionViolation, UniqueViolation
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from db.effects.candidates import step_key
from db.engine import at_once
from db.ledger import UNCHANGED, Json
from db.rows import row_as
from db.slot_holds import LET_GO, TakenMeanwhile
from db.teaching import SLOTS, slots
from domain.purchase import PurchaseOrder, TrainerAssigned
from domain.refusals import Refused
from domain.schedule import Lesson

_TRAINER_IS_FREE = "trainer_slots_trainer_is_free"
_STUDENT_IS_FREE = "trainer_slots_student_is_free"
_LEDGER_KEY = "purchase_steps_pkey"

# What the purchase and the ledger say once there is an `allocation`.
_PURCHASE_AND_LEDGER: LiteralString = """
series AS (
  UPDATE student_course_purchases
  SET series_start = :series_start,
      warnings = CASE WHEN CAST(:warning AS text) IS NULL OR warnings @> to_jsonb(CAST(:warning AS text))
                      THEN warnings ELSE warnings || to_jsonb(CAST(:warning AS text)) END
  WHERE id = :purchase_id AND series_start IS DISTINCT FROM :series_start AND EXISTS (SELECT FROM allocation)
), step AS (
  INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
  SELECT :purchase_id, :attempt, 'assign_trainer', 'done', CAST(:result AS jsonb), :now FROM allocation
  RETURNING purchase_id
), yes AS (  -- after that row: it is told after it
  INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
  SELECT purchase_id, :attempt, 'approve_allocation', 'done', '{}', :now FROM step WHERE :approved
  ON CONFLICT (purchase_id, attempt, step) DO NOTHING
)"""

# Raw: trainer, allocation, slots, purchase and ledger in one statement.
# Compare and set on last_assigned_at and on the count of decisions: whoever was chosen by facts that have changed since
# is not held (0 rows). last_assigned_at also grows on every hold, so two holds under one clock reading have an order.
_HOLD = text(f"""
WITH {UNCHANGED}, trainer AS (
  UPDATE trainers
  SET last_assigned_at = greatest(CAST(:now AS timestamptz), last_assigned_at + interval '1 microsecond')
  FROM unchanged
  WHERE id = :trainer_id AND last_assigned_at IS NOT DISTINCT FROM CAST(:seen AS timestamptz)
  RETURNING id
), allocation AS (
  INSERT INTO allocations
    (id, purchase_id, trainer_id, student_id, status, metadata, won, lost, decided_by, created_at, approved_at)
  SELECT :allocation_id, :purchase_id, trainer.id, :student_id, CASE WHEN :approved THEN 'approved' ELSE 'proposed' END,
         CAST(:metadata AS jsonb), CAST(:won AS jsonb), CAST(:lost AS jsonb), :decided_by, :now,
         CASE WHEN :approved THEN CAST(:now AS timestamptz) END FROM trainer
  RETURNING id, trainer_id
), {SLOTS}, {_PURCHASE_AND_LEDGER}
SELECT count(*) FROM slots
""")  # noqa: S608 - a literal of our own

# Raw: a look that finds the same again must write nothing.
_KEEP_REFUSAL = text("""
INSERT INTO refused_matchings AS kept (purchase_id, code, message, lost, decided_by, refused_at)
SELECT :purchase_id, :code, :message, CAST(:lost AS jsonb), coalesce((
  SELECT actor FROM operator_decisions
  WHERE purchase_id = :purchase_id AND attempt = :attempt AND verb = 'assign_trainer' ORDER BY decided_at DESC LIMIT 1
), 'automatic'), :now
ON CONFLICT (purchase_id) DO UPDATE
SET code = excluded.code, message = excluded.message, lost = excluded.lost, decided_by = excluded.decided_by,
    refused_at = excluded.refused_at
WHERE (kept.code, kept.message, kept.lost, kept.decided_by)
  IS DISTINCT FROM (excluded.code, excluded.message, excluded.lost, excluded.decided_by)
""")

# Raw: one statement. The hold becomes the purchase's allocation, if it is still one; its slots stay as they are.
_TAKE_OVER = text(f"""
WITH {UNCHANGED}, allocation AS (
  UPDATE allocations
  SET purchase_id = :purchase_id, status = CASE WHEN :approved THEN 'approved' ELSE 'proposed' END,
      metadata = CAST(:metadata AS jsonb), won = CAST(:won AS jsonb), lost = CAST(:lost AS jsonb),
      decided_by = :decided_by, created_at = :now, approved_at = CASE WHEN :approved THEN CAST(:now AS timestamptz) END
  FROM unchanged
  WHERE id = :allocation_id AND status = 'on_hold' AND student_id = :student_id AND hold_expires_at > :now
  RETURNING id, trainer_id
), trainer AS (
  UPDATE trainers
  SET last_assigned_at = greatest(CAST(:now AS timestamptz), last_assigned_at + interval '1 microsecond')
  FROM allocation WHERE trainers.id = allocation.trainer_id
), {_PURCHASE_AND_LEDGER}
SELECT count(*) FROM allocation
""")  # noqa: S608 - literals of our own

RELEASE: tuple[LiteralString, ...] = (
    """UPDATE allocations SET status = 'cancelled', cancelled_at = :now
       WHERE purchase_id = :purchase_id AND status <> 'cancelled'""",
    """SELECT FROM trainers WHERE id IN (
         SELECT slot.trainer_id FROM trainer_slots AS slot JOIN allocations ON allocations.id = slot.allocation_id
         WHERE purchase_id = :purchase_id AND slot.status <> 'cancelled'
       ) ORDER BY id FOR NO KEY UPDATE""",
    """UPDATE trainer_slots SET status = 'cancelled' WHERE status <> 'cancelled'
       AND allocation_id IN (SELECT id FROM allocations WHERE purchase_id = :purchase_id)""",
)

# Lessons too: a late try of create_sessions may have passed cancel_sessions, but never an allocation that is cancelled.
CANCEL: tuple[LiteralString, ...] = (
    """UPDATE allocations SET status = 'cancelled', cancelled_at = :now
       WHERE purchase_id = :purchase_id AND status <> 'cancelled'""",
    """UPDATE sessions SET status = 'cancelled'
       WHERE purchase_id = :purchase_id AND status = 'scheduled' AND starts_at > :now""",
)

# Raw: decided, approved and kept in one statement.
_APPROVE = text("""
WITH held AS (
  SELECT id, status FROM allocations WHERE purchase_id = :purchase_id AND status <> 'cancelled'
), yes AS (
  SELECT max(actor) AS actor FROM (
    SELECT actor FROM operator_decisions
    WHERE purchase_id = :purchase_id AND attempt = :attempt AND verb = 'approve_allocation'
    ORDER BY decided_at DESC LIMIT 1
  ) AS decision
), claim AS (
  INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
  SELECT :purchase_id, :attempt, 'approve_allocation', 'done',
         jsonb_strip_nulls(jsonb_build_object('approvedBy', yes.actor)), :now
  FROM held, yes WHERE :automatic OR status = 'approved' OR yes.actor IS NOT NULL
  ON CONFLICT (purchase_id, attempt, step) DO NOTHING
  RETURNING purchase_id
), approved AS (
  UPDATE allocations SET status = 'approved', approved_at = :now
  WHERE status = 'proposed' AND id IN (SELECT held.id FROM held, claim)
)
SELECT held.id AS allocation_id, held.status, (SELECT count(*) FROM claim) > 0 AS claimed, step.state, step.result
FROM (SELECT) AS always
LEFT JOIN held ON true
LEFT JOIN purchase_steps AS step
  ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'approve_allocation'
""")


@dataclass(frozen=True)
class Hold:
    """All that is written when a trainer is held. `seen` and `decisions`: the trainer's `last_assigned_at`, and how many
    decisions the purchase had, when it was chosen."""

    assigned: TrainerAssigned
    seen: datetime | None
    decisions: int
    lessons: Sequence[Lesson]
    zone: str
    series_start: date
    warning: str | None
    metadata: Json
    won: Json
    lost: dict[str, str]
    decided_by: str


def hold(connection: Connection, order: PurchaseOrder, wanted: Hold, now: datetime) -> None:
    """Hold the trainer with all the slots and write the ledger's rows, in one statement.

    Raises TakenMeanwhile when the trainer or this step was taken, or an operator decided; SCHEDULE_CONFLICT when the
    student was: then the transaction is broken and must be rolled back.
    """
    trainer_id = wanted.assigned.trainer_id
    try:
        held = connection.execute(_HOLD, _values(order, wanted, now)).scalar_one()
    except IntegrityError as error:
        violation = error.orig
        if isinstance(violation, ExclusionViolation | UniqueViolation):
            if violation.diag.constraint_name == _STUDENT_IS_FREE:
                raise Refused("SCHEDULE_CONFLICT", "another purchase of the student took one of the times") from error
            if violation.diag.constraint_name in (_TRAINER_IS_FREE, _LEDGER_KEY):
                raise TakenMeanwhile(trainer_id) from error
        raise
    if held != len(wanted.lessons):
        raise TakenMeanwhile(trainer_id)


def take_over(connection: Connection, order: PurchaseOrder, wanted: Hold, now: datetime) -> None:
    """Make the student's hold, `wanted.assigned.allocation_id`, the purchase's allocation and write the ledger's rows.

    Raises TakenMeanwhile when the hold has ended or this step was taken, or an operator decided.
    """
    try:
        taken = connection.execute(_TAKE_OVER, _values(order, wanted, now)).scalar_one()
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == _LEDGER_KEY:
            raise TakenMeanwhile(wanted.assigned.trainer_id) from error
        raise
    if not taken:
        raise TakenMeanwhile(wanted.assigned.trainer_id)


def let_go(connection: Connection, hold_ids: Sequence[str], now: datetime) -> None:
    """End these slot holds, and all that have expired; to be called before a trainer is locked."""
    connection.execute(LET_GO, {"ids": list(hold_ids), "now": now})


def _values(order: PurchaseOrder, wanted: Hold, now: datetime) -> dict[str, object]:
    return {
        **step_key(order), **slots(wanted.lessons),
        "trainer_id": wanted.assigned.trainer_id, "allocation_id": wanted.assigned.allocation_id, "seen": wanted.seen,
        "decisions": wanted.decisions, "zone": wanted.zone, "series_start": wanted.series_start, "warning": wanted.warning, "now": now,
        "metadata": json.dumps(wanted.metadata), "lost": json.dumps(wanted.lost), "won": json.dumps(wanted.won),
        "decided_by": wanted.decided_by, "approved": wanted.assigned.approved, "result": json.dumps(asdict(wanted.assigned)),
    }  # fmt: skip


def keep_refusal(engine: Engine, order: PurchaseOrder, refused: Refused, lost: dict[str, str], now: datetime) -> None:
    """Store why no trainer was taken; a search that finds the same again writes nothing."""
    told = {"code": refused.code, "message": refused.message, "lost": json.dumps(lost)}
    values = {**step_key(order), **told, "now": now}
    with at_once(engine) as connection:
        connection.execute(_KEEP_REFUSAL, values)


@dataclass(frozen=True)
class Approval:
    """The result of one try to approve. `status` None: there is no allocation; `claimed`: it wrote the ledger row."""

    allocation_id: str | None
    status: str | None
    claimed: bool
    state: str | None
    result: Json | None


def approve(engine: Engine, order: PurchaseOrder, *, automatic: bool, now: datetime) -> Approval:
    """Approve the proposed allocation if `automatic` or an operator said so, in one statement that also writes the
    ledger row, with who said so, once it is approved."""
    with at_once(engine) as connection:
        return approve_in(connection, order, automatic=automatic, now=now)


def approve_in(connection: Connection, order: PurchaseOrder, *, automatic: bool, now: datetime) -> Approval:
    """Act as `approve` in the caller's transaction."""
    values = {**step_key(order), "automatic": automatic, "now": now}
    return row_as(Approval, connection.execute(_APPROVE, values))
