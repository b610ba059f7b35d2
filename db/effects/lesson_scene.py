"""Lock and read the lessons of a purchase that stand, before any of them changes.

Lock order as everywhere: the student, the purchase's start, its allocation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from db.ledger import Json
from db.rows import optional_row_as, rows_as
from domain.purchase import PurchaseOrder
from domain.schedule import Lesson

_LOCK = (
    text("""
      SELECT FROM students WHERE id = (SELECT student_id FROM purchase_starts WHERE purchase_id = :purchase_id)
      FOR NO KEY UPDATE
    """),
    text("SELECT FROM purchase_starts WHERE purchase_id = :purchase_id FOR NO KEY UPDATE"),
    text("SELECT FROM allocations WHERE purchase_id = :purchase_id AND status <> 'cancelled' FOR NO KEY UPDATE"),
)
# Raw: six tables. After the locks, so that it sees all that was committed while they were waited for.
_SCENE = text("""
SELECT start.workflow_id, start.payment_id, start.line, start.student_id, start.origin, start.attempt,
       purchase.status, purchase.item_id, purchase.metadata AS fields, purchase.expires_on,
       student.timezone AS zone, student.latitude, student.longitude,
       allocation.id AS allocation_id, allocation.trainer_id, ARRAY(SELECT day FROM holidays) AS holidays,
       act.verb, act.after, act.outcome
FROM purchase_starts AS start
JOIN students AS student ON student.id = start.student_id
LEFT JOIN student_course_purchases AS purchase ON purchase.id = start.purchase_id
LEFT JOIN allocations AS allocation ON allocation.purchase_id = start.purchase_id AND allocation.status = 'approved'
LEFT JOIN operator_acts AS act ON act.purchase_id = start.purchase_id AND act.request_key = :request_key
WHERE start.purchase_id = :purchase_id
""")
# Raw, as all below: times are ranges there, and any number of lessons is one statement.
_STANDING = text("""
SELECT slot.number, slot.trainer_id, lower(slot.during) AS starts_at, upper(slot.during) AS ends_at, slot.local_start,
       slot.zone, slot.clock, slot.asked_start, session.number IS NOT NULL AS made,
       coalesce(session.revision, 0) AS revision
FROM trainer_slots AS slot LEFT JOIN sessions AS session USING (allocation_id, number)
WHERE slot.allocation_id = :allocation_id AND slot.status = 'held' AND coalesce(session.status, 'scheduled') = 'scheduled'
ORDER BY slot.number
""")


@dataclass(frozen=True)
class Standing:
    """A held slot and the lesson made from it, if it is `made`."""

    number: int
    trainer_id: str
    starts_at: datetime
    ends_at: datetime
    local_start: datetime
    zone: str
    clock: str | None
    asked_start: datetime | None
    made: bool
    revision: int

    def lesson(self) -> Lesson:
        """Return the slot as a planned Lesson."""
        return Lesson(self.number, self.local_start, self.starts_at, self.ends_at, self.clock, self.asked_start)


@dataclass(frozen=True)
class Scene:
    """A purchase whose lessons are to be changed, locked. `verb`, `after`, `outcome`: of the act with this request key,
    if there was one; `allocation_id` None: no approved allocation."""

    order: PurchaseOrder
    status: str | None
    course_id: str
    fields: Json
    expires_on: date | None
    zone: str | None
    latitude: float | None
    longitude: float | None
    allocation_id: str | None
    trainer_id: str | None
    holidays: frozenset[date]
    verb: str | None
    after: Json | None
    outcome: str | None
    standing: tuple[Standing, ...]


@dataclass(frozen=True)
class _SceneRow:
    workflow_id: str
    payment_id: str | None
    line: int
    student_id: str
    origin: str
    attempt: int
    status: str | None
    item_id: str | None
    fields: Json | None
    expires_on: date | None
    zone: str | None
    latitude: float | None
    longitude: float | None
    allocation_id: str | None
    trainer_id: str | None
    holidays: list[date]
    verb: str | None
    after: Json | None
    outcome: str | None


def lock_scene(connection: Connection, purchase_id: str, request_key: str) -> Scene | None:
    """Lock student, start and allocation, then read; return None when no such purchase was ever started."""
    key = {"purchase_id": purchase_id, "request_key": request_key}
    for statement in _LOCK:
        connection.execute(statement, key)
    row = optional_row_as(_SceneRow, connection.execute(_SCENE, key))
    if row is None:
        return None
    standing = rows_as(Standing, connection.execute(_STANDING, {"allocation_id": row.allocation_id}))
    order = PurchaseOrder(
        purchase_id, row.workflow_id, row.payment_id or "", row.line, row.student_id, row.origin, row.attempt
    )
    return Scene(
        order, row.status, row.item_id or "", row.fields or {}, row.expires_on, row.zone, row.latitude, row.longitude,
        row.allocation_id, row.trainer_id, frozenset(row.holidays), row.verb, row.after, row.outcome,
        tuple(standing),
    )  # fmt: skip
