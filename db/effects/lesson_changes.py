"""Change the time or the trainer of lessons that stand, one by one. The EXCLUDE constraints have the last word.

Lock order as everywhere: the student, the purchase's start, its allocation, then trainers, by their ids: the one who
is to give the lessons, and those who gave them. Triggers keep what a slot was before, count the changes of a lesson,
and keep the loads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from psycopg.errors import ExclusionViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from db.effects.decisions import record_in
from db.effects.learning import bump_in
from db.effects.lesson_scene import Scene, Standing
from db.effects.replanning import LESSONS_FOLLOW
from db.ledger import Json
from db.teaching import LESSONS, slots
from domain.acts import ActRecord
from domain.ids import event_key_of
from domain.refusals import Refused
from domain.schedule import Lesson

# Raw: they lock and read nothing.
_LET_GO = text("""
UPDATE trainer_slots SET status = 'cancelled'
WHERE allocation_id = :allocation_id AND number = ANY(CAST(:numbers AS integer[]))
""")
_TRAINERS = text("SELECT FROM trainers WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR NO KEY UPDATE")
# Who is given lessons comes later in the next choice between equals.
_TRAINER = text("""
UPDATE trainers SET last_assigned_at =
  CASE WHEN :assigned THEN greatest(CAST(:now AS timestamptz), last_assigned_at + interval '1 microsecond')
       ELSE last_assigned_at END
WHERE id = :trainer_id RETURNING id
""")
_HOLD = text(f"""
UPDATE trainer_slots AS slot
SET trainer_id = :trainer_id, during = tstzrange(lesson.starts_at, lesson.ends_at, '[)'),
    local_start = lesson.local_start, zone = :zone, clock = lesson.clock, asked_start = lesson.asked_start, status = 'held'
FROM {LESSONS}
WHERE slot.allocation_id = :allocation_id AND slot.number = lesson.number
""")  # noqa: S608 -- a constant
_GIVEN_TO = text("UPDATE allocations SET trainer_id = :trainer_id WHERE id = :allocation_id")
# Which of these times trainer and student have nothing else at.
_FREE = text("""
SELECT number
FROM unnest(CAST(:numbers AS integer[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
  AS lesson (number, starts_at, ends_at)
WHERE NOT EXISTS (
  SELECT FROM trainer_slots AS slot WHERE slot.trainer_id = :trainer_id AND slot.status <> 'cancelled'
  AND slot.during && tstzrange(starts_at, ends_at, '[)'))
AND NOT EXISTS (
  SELECT FROM trainer_slots AS slot WHERE slot.student_id = :student_id AND slot.status <> 'cancelled'
  AND slot.during && tstzrange(starts_at, ends_at, '[)'))
""")
_TELL = text("""
INSERT INTO outbox (key, type, data, occurred_at)
VALUES (:key, :type, CAST(:data AS jsonb), :now) ON CONFLICT (key) DO NOTHING
""")
_WARN = text("""
UPDATE student_course_purchases SET warnings = warnings || CAST(:warnings AS jsonb) WHERE id = :purchase_id
""")


def let_go(connection: Connection, scene: Scene, numbers: Sequence[int]) -> None:
    """Free the slots of these lessons."""
    connection.execute(_LET_GO, {"allocation_id": scene.allocation_id, "numbers": list(numbers)})


def lock_trainer(
    connection: Connection, trainer_id: str, now: datetime, *, assigned: bool, beside: Sequence[str] = ()
) -> None:
    """Lock the trainer, so that nobody else gives them lessons until the transaction ends; before slots are let go.

    `assigned`: also count it as an assignment; `beside`: ids of trainers whose slots are to be let go. Raises
    TRAINER_NOT_FREE when there is no such trainer.
    """
    connection.execute(_TRAINERS, {"ids": [trainer_id, *beside]})
    values = {"trainer_id": trainer_id, "now": now, "assigned": assigned}
    if connection.execute(_TRAINER, values).one_or_none() is None:
        raise Refused("TRAINER_NOT_FREE", "there is no trainer of this trainerId")


def hold(connection: Connection, scene: Scene, trainer_id: str, lessons: Sequence[Lesson], zone: str) -> None:
    """Hold these lessons for the trainer, and move those already made to their slots.

    Raises TRAINER_NOT_FREE or SCHEDULE_CONFLICT when somebody was quicker: roll back to before.
    """
    values = {**slots(lessons), "allocation_id": scene.allocation_id, "trainer_id": trainer_id, "zone": zone}
    try:
        connection.execute(_HOLD, values)
    except IntegrityError as error:
        if isinstance(error.orig, ExclusionViolation):
            student = error.orig.diag.constraint_name == "trainer_slots_student_is_free"
            code = "SCHEDULE_CONFLICT" if student else "TRAINER_NOT_FREE"
            who = "the student" if student else trainer_id
            raise Refused(code, f"{who} has another lesson at one of these times") from error
        raise
    connection.execute(LESSONS_FOLLOW, values)


def give_to(connection: Connection, scene: Scene, trainer_id: str) -> None:
    """Make this trainer the one of the purchase's allocation; the slots keep who gave the lessons before."""
    connection.execute(_GIVEN_TO, {"allocation_id": scene.allocation_id, "trainer_id": trainer_id})


def free_for(connection: Connection, scene: Scene, trainer_id: str, lessons: Sequence[Lesson]) -> set[int]:
    """Return the numbers of the lessons at whose times neither trainer nor student has another lesson."""
    values = {**slots(lessons), "trainer_id": trainer_id, "student_id": scene.order.student_id}
    return set(connection.execute(_FREE, values).scalars())


def record(connection: Connection, act: ActRecord, now: datetime, event: str | None, warnings: Sequence[str]) -> None:
    """Record the act and, unless `event` is None (nothing happened), the event, the warnings and a new learning page.

    All of it happens once per request key.
    """
    order = act.order
    if not record_in(connection, act, now) or event is None:
        return
    told: Json = {
        "purchaseId": order.purchase_id, "workflowId": order.workflow_id, "paymentId": order.payment_id or None,
        "line": order.line, "studentId": order.student_id, "verb": act.verb, **act.after,
    }  # fmt: skip
    key = event_key_of(order.purchase_id, event, f"-{uuid5(NAMESPACE_URL, act.request_key)}")
    connection.execute(_TELL, {"key": key, "type": event, "data": json.dumps(told), "now": now})
    if warnings:
        connection.execute(_WARN, {"purchase_id": order.purchase_id, "warnings": json.dumps(list(warnings))})
    bump_in(connection, order.student_id)


def told_of(lesson: Standing | Lesson, trainer_id: str, zone: str) -> Json:
    """Return a lesson in the form in which audit and event show it."""
    local = lesson.local_start if isinstance(lesson, Standing) else lesson.local
    return {
        "number": lesson.number, "trainerId": trainer_id, "local": local.isoformat(timespec="minutes"),
        "timezone": zone, "startsAt": lesson.starts_at.isoformat(), "endsAt": lesson.ends_at.isoformat(),
    }  # fmt: skip
