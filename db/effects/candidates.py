"""Read what a purchase asks for, and who of those who teach the course comes first, as of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection, text

from db.ledger import Json
from db.rows import row_as, rows_as
from db.slot_holds import HOLDS, Holds, HoldsRow, holds_of
from db.teaching import CONFLICT, COURSE, PLAN, TRAINERS, Round, TrainerRow, parameters, trainers_of
from domain.matching import TrainerFacts
from domain.purchase import PurchaseOrder
from domain.schedule import Lesson

# Raw: the student alone is locked, and read with the purchase. The student's row stays locked until the end of the
# transaction: two purchases of one student plan one after the other.
_REQUEST = text("""
SELECT purchase.id AS purchase_id, purchase.item_id AS course_id, purchase.metadata AS fields, purchase.metadata_extras AS extras,
       purchase.session_count, purchase.session_count_source, purchase.series_start,
       student.timezone AS zone, student.latitude, student.longitude, step.state, step.result,
       ARRAY(SELECT day FROM holidays) AS holidays,
       (SELECT decisions FROM purchase_starts AS start WHERE start.purchase_id = :purchase_id) AS decisions,
       given.trainer_id AS given, given.actor AS given_by
FROM students AS student
LEFT JOIN LATERAL (
  SELECT decision.values ->> 'trainerId' AS trainer_id, actor FROM operator_decisions AS decision
  WHERE decision.purchase_id = :purchase_id AND decision.attempt = :attempt AND verb = 'assign_trainer'
  ORDER BY decided_at DESC LIMIT 1
) AS given ON true
LEFT JOIN student_course_purchases AS purchase ON purchase.id = :purchase_id AND purchase.student_id = student.id
LEFT JOIN purchase_steps AS step
  ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'assign_trainer'
WHERE student.id = :student_id
FOR NO KEY UPDATE OF student
""")

# Raw: trainers with all that speaks against them, in one statement. One row even without any trainer. The ledger is
# read again: the first look may have waited for the student's row
# while another try of this very step held it, and a statement sees nothing that was committed while it waited.
_CANDIDATES = text(f"""
WITH {PLAN}
SELECT step.state, step.result, mine.conflict, holds.expired, holds.own, course.teaching, course.begun, trainer.*
FROM ({CONFLICT}
) AS mine CROSS JOIN ({HOLDS}
) AS holds CROSS JOIN ({COURSE}
) AS course
LEFT JOIN purchase_steps AS step
  ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'assign_trainer'
LEFT JOIN ({TRAINERS}
) AS trainer ON true
""")  # noqa: S608 -- constants


@dataclass(frozen=True)
class LessonRequest:
    """What a purchase asks for, and where its student is. `purchase_id` None: there is no purchase row (any more).

    `given`: the trainer chosen by the operator `given_by`; `decisions`: how many there were when all this was read.
    """

    purchase_id: str | None
    course_id: str
    fields: Json
    extras: Json
    session_count: int
    session_count_source: str
    series_start: date | None
    zone: str | None
    latitude: float | None
    longitude: float | None
    holidays: list[date]
    decisions: int
    given: str | None
    given_by: str | None
    state: str | None
    result: Json | None


@dataclass(frozen=True)
class CandidateSearch:
    """Trainers of the course as of now, of the `teaching` there are. `conflict`: number of the first lesson at which the
    student is busy; `begun`: loads are to be counted anew (`db.loads.count_begun`)."""

    state: str | None
    result: Json | None
    conflict: int | None
    trainers: tuple[TrainerFacts, ...]
    holds: Holds
    teaching: int
    begun: bool

    def with_further(self, trainers: tuple[TrainerFacts, ...]) -> CandidateSearch:
        """Return the same search with further trainers; without any, these are all."""
        seen = self.trainers + trainers
        return replace(self, trainers=seen, teaching=self.teaching if trainers else len(seen))


@dataclass(frozen=True)
class _CandidateRow(TrainerRow, HoldsRow):
    state: str | None
    result: Json | None
    conflict: int | None
    teaching: int
    begun: bool


def read_request(connection: Connection, order: PurchaseOrder) -> LessonRequest:
    """Read the purchase and its student, and lock the student until the transaction ends."""
    return row_as(LessonRequest, connection.execute(_REQUEST, step_key(order)))


def look(
    connection: Connection,
    order: PurchaseOrder,
    course_id: str,
    lessons: Sequence[Lesson],
    now: datetime,
    whom: Round,
) -> CandidateSearch:
    """Find who teaches the course, with hours, blocked days, future load, and whether busy at these lessons.

    A trainer too far away, or for smaller groups, comes without hours, blocked days and slots. Holds that have expired
    and the student's own count as free: end them (`db.slot_holds.LET_GO`) before anything is held.
    """
    values = {**step_key(order), **parameters(lessons, now, whom), "course_id": course_id}
    rows = rows_as(_CandidateRow, connection.execute(_CANDIDATES, values))
    first = rows[0]
    return CandidateSearch(
        first.state, first.result, first.conflict, trainers_of(rows), holds_of(first), first.teaching, first.begun
    )


def step_key(order: PurchaseOrder) -> dict[str, object]:
    """Return the parameters that name a step of an order."""
    return {"purchase_id": order.purchase_id, "attempt": order.attempt, "student_id": order.student_id}
