"""What is there (every row a step may write) and what is in force (what a student has, what a trainer holds)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from tests.build import rows

WRITTEN = (
    "payments", "refunds", "purchase_starts", "student_course_purchases", "ownerships", "enrollments", "outbox",
    "allocations", "trainer_slots", "sessions", "cart_items", "coin_movements", "coin_balances",
    "purchase_subjects", "mock_test_attempts", "learning_versions",
)  # fmt: skip

IN_FORCE = {
    "purchases": "SELECT id FROM student_course_purchases WHERE status = 'active' ORDER BY 1",
    "owned": "SELECT purchase_id, item_id FROM ownerships WHERE revoked_at IS NULL ORDER BY 1, 2",
    "coins": "SELECT student_id, coins FROM coin_balances ORDER BY 1",
    "enrolled": "SELECT purchase_id, item_id FROM enrollments WHERE ended_at IS NULL ORDER BY 1, 2",
    "allocated": "SELECT id, status FROM allocations WHERE status <> 'cancelled' ORDER BY 1",
    "held": "SELECT trainer_id, during FROM trainer_slots WHERE status = 'held' ORDER BY 1, 2",
    "cards": "SELECT purchase_id, subject_id, test_number FROM mock_test_attempts WHERE voided_at IS NULL ORDER BY 1, 2, 3",
    "lessons": "SELECT allocation_id, number FROM sessions WHERE status = 'scheduled' ORDER BY 1, 2",
}


def written(engine: Engine) -> dict[str, list[Any]]:
    """All rows of all tables that steps write, the ledger left out."""
    return {table: rows(engine, f"TABLE {table} ORDER BY 1, 2") for table in WRITTEN}


def in_force(engine: Engine) -> dict[str, list[Any]]:
    """What counts: purchases, ownership, coins, access, trainers' time, lessons."""
    return {name: rows(engine, query) for name, query in IN_FORCE.items()}
