"""Who could teach a purchase's lessons: what it asks for, and everybody who teaches the course, as of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from db.ledger import Json
from domain.matching import Place, TrainerFacts, Window, place_of
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from domain.schedule import Lesson

# The student's row stays locked until the end of the transaction: two purchases of one student plan one after the other.
_REQUEST = text("""
SELECT purchase.id, purchase.item_id, purchase.metadata AS fields, purchase.metadata_extras AS extras,
       purchase.session_count, purchase.session_count_source, purchase.series_start,
       student.timezone, student.latitude, student.longitude, step.state, step.result,
       ARRAY(SELECT day FROM holidays) AS holidays,
       (SELECT decisions FROM purchase_starts AS start WHERE start.purchase_id = :purchase_id) AS decisions,
       (SELECT decision.values ->> 'trainerId' FROM operator_decisions AS decision
        WHERE decision.purchase_id = :purchase_id AND decision.attempt = :attempt AND verb = 'assign_trainer'
        ORDER BY decided_at DESC LIMIT 1) AS given
FROM students AS student
LEFT JOIN student_course_purchases AS purchase ON purchase.id = :purchase_id AND purchase.student_id = student.id
LEFT JOIN purchase_steps AS step
  ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'assign_trainer'
WHERE student.id = :student_id
FOR NO KEY UPDATE OF student
""")

# One row even without any trainer. The ledger is read again: the first look may have waited for the student's row
# while another try of this very step held it, and a statement sees nothing that was committed while it waited.
_LOOK = text("""
WITH plan AS MATERIALIZED (
  SELECT number, tstzrange(starts_at, ends_at, '[)') AS during
  FROM unnest(CAST(:numbers AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    AS lesson (number, starts_at, ends_at)
), times AS MATERIALIZED (
  SELECT range_agg(during) AS during FROM plan -- one look into the index per trainer instead of one per lesson
)
SELECT step.state, step.result, mine.conflict, trainer.*
FROM (
  SELECT min(plan.number) AS conflict FROM plan JOIN trainer_slots AS slot
    ON slot.student_id = :student_id AND slot.during && plan.during AND slot.status <> 'cancelled'
) AS mine
LEFT JOIN purchase_steps AS step
  ON step.purchase_id = :purchase_id AND step.attempt = :attempt AND step.step = 'assign_trainer'
LEFT JOIN (
  SELECT trainers.id, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at,
    hours.weekdays, hours.starts, hours.ends,
    ARRAY(SELECT day FROM trainer_blocked_days AS blocked
          WHERE blocked.trainer_id = trainers.id AND day BETWEEN :first AND :last) AS blocked,
    EXISTS (SELECT FROM trainer_slots AS slot WHERE slot.trainer_id = trainers.id AND slot.status <> 'cancelled'
            AND slot.during && (SELECT during FROM times)) AS busy,
    (SELECT count(*) FROM trainer_slots AS slot WHERE slot.trainer_id = trainers.id AND slot.status <> 'cancelled'
     AND slot.during && tstzrange(:now, NULL) AND lower(slot.during) > :now) AS load
  FROM trainer_courses AS course JOIN trainers ON trainers.id = course.trainer_id
  LEFT JOIN LATERAL (
    SELECT array_agg(weekday) AS weekdays, array_agg(starts) AS starts, array_agg(ends) AS ends
    FROM trainer_availability AS hour WHERE hour.trainer_id = trainers.id
  ) AS hours ON true
  WHERE course.course_id = :course_id
) AS trainer ON true
""")


@dataclass(frozen=True)
class LessonRequest:
    """What a purchase asks for, and where its student is. `purchase_id` None: there is no purchase row (any more).

    `given`: the trainer an operator chose; `decisions`: how many decisions there were when all this was read.
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
    holidays: frozenset[date]
    decisions: int
    given: str | None
    state: str | None
    result: Json | None


@dataclass(frozen=True)
class Look:
    """Who teaches the course, as of now. `conflict`: number of the first lesson at which the student is busy."""

    state: str | None
    result: Json | None
    conflict: int | None
    trainers: tuple[TrainerFacts, ...]


def read_request(connection: Connection, order: PurchaseOrder) -> LessonRequest:
    """Reads the purchase and its student, and locks the student until the transaction ends."""
    row = connection.execute(_REQUEST, step_key(order)).one()
    return LessonRequest(
        row.id, row.item_id, row.fields, row.extras, row.session_count, row.session_count_source, row.series_start,
        row.timezone, row.latitude, row.longitude, frozenset(row.holidays), row.decisions, row.given,
        row.state, row.result,
    )  # fmt: skip


def look(
    connection: Connection, order: PurchaseOrder, course_id: str, lessons: Sequence[Lesson], now: datetime
) -> Look:
    """Everybody who teaches the course, with hours, blocked days, future load, and whether busy at these lessons."""
    days = [lesson.local.date() for lesson in lessons]
    values = {
        **step_key(order), **arrays(lessons), "course_id": course_id, "now": now,
        "first": min(days) - timedelta(days=2), "last": max(days) + timedelta(days=2),
    }  # fmt: skip
    rows = connection.execute(_LOOK, values).all()
    trainers = tuple(_facts(row) for row in rows if row.id is not None)
    return Look(rows[0].state, rows[0].result, rows[0].conflict, trainers)


def _facts(row: Any) -> TrainerFacts:
    hours = zip(row.weekdays or (), row.starts or (), row.ends or (), strict=True)
    return TrainerFacts(
        id=row.id, zone=row.timezone, place=_place(row.latitude, row.longitude), radius_km=row.radius_km,
        windows=tuple(Window(*hour) for hour in hours), blocked_days=frozenset(row.blocked),
        max_group_size=row.max_group_size, busy=row.busy, load=row.load, last_assigned_at=row.last_assigned_at,
    )  # fmt: skip


def _place(latitude: float | None, longitude: float | None) -> Place | None:
    try:
        return place_of(latitude, longitude)
    except Refused:
        return None


def step_key(order: PurchaseOrder) -> dict[str, object]:
    """The parameters that name a step of an order."""
    return {"purchase_id": order.purchase_id, "attempt": order.attempt, "student_id": order.student_id}


def arrays(lessons: Sequence[Lesson]) -> dict[str, object]:
    """A plan as arrays, for unnest: one parameter each, however many lessons."""
    return {
        "numbers": [lesson.number for lesson in lessons],
        "starts": [lesson.starts_at for lesson in lessons],
        "ends": [lesson.ends_at for lesson in lessons],
    }
