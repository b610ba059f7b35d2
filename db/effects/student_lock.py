"""Whoever changes what a student has takes turns with the others: the lock on the student's row comes before all else."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.purchase import PurchaseOrder

# Raw: it locks and reads nothing.
_LOCK = text("SELECT FROM students WHERE id = :student_id FOR NO KEY UPDATE")


def lock_student(connection: Connection, order: PurchaseOrder) -> None:
    """Wait for the turn, until the transaction ends. A statement of its own: the next ones see what the others did."""
    connection.execute(_LOCK, {"student_id": order.student_id})
