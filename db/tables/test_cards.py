"""Mock tests: which subjects a purchase bought, a card per test of a subject, what was started on a card.

And what is left of the system before cards.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from db.tables.columns import Id, Minor, Row, Words, one_of, reference


class PurchaseSubject(Row, table=True):
    """A subject of a purchase; a bundle is expanded to its subjects once, when it is bought (mission row 5)."""

    __tablename__ = "purchase_subjects"

    purchase_id: Annotated[str, reference("student_course_purchases.id", key=True)]
    subject_id: Id


class MockTestAttempt(Row, table=True):
    """A test card: one mock test of a bought subject (mission rows 1, 3). The name is the older system's."""

    __tablename__ = "mock_test_attempts"
    __table_args__ = (
        UniqueConstraint("purchase_id", "subject_id", "test_number", name="unique_test_per_purchase_subject"),
        ForeignKeyConstraint(
            ["purchase_id", "subject_id"], ["purchase_subjects.purchase_id", "purchase_subjects.subject_id"]
        ),
        CheckConstraint("test_number BETWEEN 1 AND 50", name="test_number_in_range"),
    )

    id: Id
    purchase_id: Words
    subject_id: Words
    test_number: Minor
    issued_at: datetime = Field(sa_column_kwargs={"server_default": text("now()")})
    voided_at: datetime | None = None


class MockTestSession(Row, table=True):
    """An attempt at a card: three at most, one per key of the caller (mission rows 4, 8, 9)."""

    __tablename__ = "test_attempt_sessions"
    __table_args__ = (
        UniqueConstraint("test_card_id", "attempt"),
        UniqueConstraint("test_card_id", "idempotency_key"),
        CheckConstraint("attempt BETWEEN 1 AND 3", name="attempt_in_range"),
        one_of("state", "in_progress", "submitted", "expired"),
        CheckConstraint("(state = 'in_progress') = (ended_at IS NULL)", name="ended_has_a_time"),
    )

    id: Id
    test_card_id: Annotated[str, reference("mock_test_attempts.id")]
    attempt: Minor
    idempotency_key: Words
    state: Words
    started_at: datetime
    ended_at: datetime | None = None


class OldTestAttempt(Row, table=True):
    """A test of the older system, only ever opened (mission row 6). Where its table was there before, its own kinds of
    columns stay.
    """

    __tablename__ = "test_attempts"
    __table_args__ = (Index("test_attempts_by_student", "student_id"),)

    id: Id
    student_id: Words
    subject_id: Words
    title: Words
    state: Words
    questions: Annotated[list[Any] | None, Field(sa_type=JSONB)]
    started_at: datetime | None = None
