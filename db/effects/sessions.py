"""Make the lessons of an allocation from its held slots, in one statement however many; cancel, never delete them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation
from sqlalchemy import Engine, bindparam, exists, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from db.effects.learning import bump_in, bumped_from
from db.engine import at_once
from db.ledger import Json
from db.rows import row_as
from db.tables import LessonSession
from domain.purchase import PurchaseOrder

# Raw: read, judged, made and counted in one statement. `ready` is what lessons are made from; where it is not `fine`, or
# the step has its ledger row, nothing is made, and whoever asked sees why in it: `fine` holds what it would refuse.
# The ledger row is written only when every number stands, and without ON CONFLICT: another try's row, or a tombstone,
# fails the whole statement, lessons included. A partial outcome keeps its lessons and writes no ledger row, so it could
# slip past a cancel_sessions at the same moment: FOR SHARE makes cancel_allocation, which comes next, wait and see
# them. It also waits for a new plan under way, and makes nothing of the old one: a plan is known by the decision it was
# made for.
_MAKE = text(
    """
WITH ready AS (
  SELECT step.state, step.result, allocation.id AS allocation_id, allocation.status,
         allocation.metadata -> 'sessionCount' AS session_count, allocation.metadata ->> 'plannedBy' AS planned_by,
         decision.request_key, decision.values AS overrides,
         student.timezone AS zone, student.latitude, student.longitude
  FROM students AS student
  LEFT JOIN allocations AS allocation
    ON allocation.purchase_id = :purchase_id AND allocation.status <> 'cancelled'
  LEFT JOIN purchase_steps AS step
    ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'create_sessions'
  LEFT JOIN LATERAL (
    SELECT request_key, decided.values FROM operator_decisions AS decided
    WHERE purchase_id = :purchase_id AND decided.attempt = :attempt AND verb = 'create_sessions'
    ORDER BY decided_at DESC LIMIT 1
  ) AS decision ON true
  WHERE student.id = :student_id
), fine AS (
  SELECT allocation_id, planned_by, wanted FROM ready CROSS JOIN LATERAL (
    SELECT CASE WHEN jsonb_typeof(session_count) = 'number' AND session_count::text ~ '^[1-9][0-9]{0,8}$'
      THEN session_count::integer END AS wanted
  ) AS count
  WHERE state IS NULL AND wanted IS NOT NULL
    AND (request_key IS NULL OR request_key = planned_by OR jsonb_strip_nulls(overrides) = '{}')
    AND zone IS NOT NULL AND latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180
    AND NOT (latitude = 0 AND longitude = 0)
), approved AS (
  SELECT allocation.id, fine.wanted FROM fine JOIN allocations AS allocation ON allocation.id = fine.allocation_id
  WHERE allocation.status = 'approved' AND allocation.metadata ->> 'plannedBy' IS NOT DISTINCT FROM fine.planned_by
  FOR SHARE OF allocation
), made AS (
  INSERT INTO sessions (allocation_id, number, purchase_id, starts_at, ends_at, local_start, zone, clock, asked_start,
                        status, created_at)
  SELECT slot.allocation_id, slot.number, :purchase_id, lower(during), upper(during), local_start, zone, clock,
         asked_start, 'scheduled', :now
  FROM approved JOIN trainer_slots AS slot ON slot.allocation_id = approved.id
  WHERE slot.status = 'held' AND slot.number <= approved.wanted
  ORDER BY slot.number -- two tries at once meet at the first number, so they cannot deadlock
  ON CONFLICT (allocation_id, number) DO NOTHING
  RETURNING number
), standing AS (
  SELECT number FROM approved JOIN sessions ON sessions.allocation_id = approved.id
  WHERE number <= approved.wanted AND sessions.status = 'scheduled'
  UNION SELECT number FROM made
), counts AS (
  SELECT (SELECT count(*) FROM made) AS created, count(*) AS standing FROM standing
), step AS (
  INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
  SELECT :purchase_id, :attempt, 'create_sessions', 'done',
         jsonb_build_object('outcome', 'all', 'created', created, 'existing', standing - created, 'missing', '[]'::jsonb),
         :now
  FROM counts, approved WHERE standing = approved.wanted
), """  # noqa: S608 -- constants
    + bumped_from("made")
    + """
SELECT ready.*, EXISTS (SELECT FROM approved) AS made, ARRAY(SELECT number FROM made ORDER BY number) AS created,
  standing - created AS existing, ARRAY(
    SELECT number FROM approved, generate_series(1, approved.wanted) AS number
    WHERE number NOT IN (SELECT standing.number FROM standing) ORDER BY number
  ) AS missing
FROM ready, counts
"""
)


_OF_PURCHASE = col(LessonSession.purchase_id) == bindparam("purchase")
_CANCEL = (
    update(LessonSession)
    .where(_OF_PURCHASE, col(LessonSession.status) == "scheduled", col(LessonSession.starts_at) > bindparam("now"))
    .values({col(LessonSession.status): "cancelled"})
)
_ANY_CANCELLED = select(exists().where(_OF_PURCHASE, col(LessonSession.status) == "cancelled"))


class Raced(Exception):
    """Another try of this step or its undo was first; nothing was written: look again."""


@dataclass(frozen=True)
class Made:
    """What one try found, and what it did.

    What lessons are made from, and the step's ledger row. `session_count` is as it stands in the allocation.
    `request_key` and `overrides`: the last decision to create sessions; `planned_by`: the one the slots were held for.

    `made`: all of it was fine, and lessons were made. Then the numbers created, how many existed before, the numbers of
    1..N that still have no lesson.
    """

    state: str | None
    result: Json | None
    allocation_id: str | None
    status: str | None
    session_count: object
    planned_by: str | None
    request_key: str | None
    overrides: Json | None
    zone: str | None
    latitude: float | None
    longitude: float | None
    made: bool
    created: list[int]
    existing: int
    missing: list[int]


def make_missing(engine: Engine, order: PurchaseOrder, now: datetime) -> Made:
    """Make exactly the missing numbers of 1..N, and the ledger row when all stand, in one round trip.

    Makes nothing unless all that lessons need is there and the step was neither done nor undone. Raises Raced when it
    was done or undone meanwhile.
    """
    values = {
        "purchase_id": order.purchase_id, "attempt": order.attempt, "student_id": order.student_id, "now": now,
    }  # fmt: skip
    with at_once(engine) as connection:
        try:
            return row_as(Made, connection.execute(_MAKE, values))
        except IntegrityError as error:
            if isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == "purchase_steps_pkey":
                raise Raced from error
            raise


def cancel_future(engine: Engine, order: PurchaseOrder, now: datetime) -> bool:
    """Cancel the lessons that have not begun at `now`; return whether any lesson of the purchase is cancelled."""
    with engine.begin() as connection:
        if connection.execute(_CANCEL, {"purchase": order.purchase_id, "now": now}).rowcount:
            bump_in(connection, order.student_id)
        return connection.execute(_ANY_CANCELLED, {"purchase": order.purchase_id}).scalar_one()
