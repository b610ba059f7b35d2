"""Lock the student's row before all else, so that those who change what a student has take turns."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.purchase import PurchaseOrder

# Raw: it locks and reads nothing.
_LOCK = text("SELECT FROM students WHERE id = :student_id FOR NO KEY UPDATE")


def lock_student(connection: Connection, order: PurchaseOrder) -> None:
    """Lock the student until the transaction ends. A statement of its own: the next ones see what others committed."""
    connection.execute(_LOCK, {"student_id": order.student_id})
