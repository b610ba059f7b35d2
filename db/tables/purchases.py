"""The purchase: its start, its steps, its row, what the student may use, what is told to others."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from db.tables.columns import (
    Id,
    Json,
    MaybeObject,
    MaybeWords,
    Minor,
    Number,
    Object,
    Row,
    Words,
    defaulted,
    one_of,
    reference,
)

ITEM = ["catalogue_items.item_type", "catalogue_items.id"]


class PurchaseStart(Row, table=True):
    """A purchase that a door started; written before its workflow, so it outlives Temporal's memory of it.

    `decisions` counts what operators decided of it: the version of those decisions, compared by the steps that read them.
    No key to payments or students: what a door was told may be wrong, and confirm_payment says so.
    """

    __tablename__ = "purchase_starts"
    __table_args__ = (
        UniqueConstraint("workflow_id"),
        UniqueConstraint("payment_id", "line"),
        one_of("origin", "checkout", "event", "admin", "free", "reconciler"),
        one_of("ending", "completed", "refused", "cancelled"),
        CheckConstraint("attempt >= 1", name="attempt_from_one"),
        CheckConstraint("(ending IS NULL) = (ended_at IS NULL)", name="ending_has_a_time"),
        Index("purchase_starts_by_time", "started_at", "purchase_id"),
        Index("purchase_starts_by_student", "student_id", "started_at"),
        Index("purchase_starts_running", "started_at", postgresql_where=text("ending IS NULL")),
    )

    purchase_id: Id
    workflow_id: Words
    payment_id: MaybeWords = None
    line: int
    student_id: Words
    origin: Words
    attempt: int = defaulted("1", 1)
    event_metadata: MaybeObject = None
    started_at: datetime
    ending: MaybeWords = None
    code: MaybeWords = None
    refunded: bool | None = None
    ended_at: datetime | None = None
    decisions: int = defaulted("0", 0, BigInteger)


class PurchaseStep(Row, table=True):
    """The step ledger: `done` with the first result, or `undone`. An undo without a do leaves a row with no result."""

    __tablename__ = "purchase_steps"
    __table_args__ = (
        one_of("state", "done", "undone"),
        CheckConstraint("state = 'undone' OR result IS NOT NULL", name="done_has_a_result"),
    )

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    attempt: Number
    step: Id
    state: Words
    result: MaybeObject = None
    at: datetime


class PurchaseProgress(Row, table=True):
    """What watchers of a purchase are told, in order; written by triggers of the tables it tells of (mission row 89)."""

    __tablename__ = "purchase_progress"
    __table_args__ = (one_of("kind", "started", "step", "attention", "ended"),)

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    number: Annotated[int, Field(sa_type=BigInteger, primary_key=True)]
    kind: Words
    facts: Object
    at: datetime


class Purchase(Row, table=True):
    """What a student got for one payment line (mission rows 24, 25, 61); id = the purchase id of its workflow."""

    __tablename__ = "student_course_purchases"
    __table_args__ = (
        UniqueConstraint("workflow_id"),
        UniqueConstraint("payment_id", "line"),
        ForeignKeyConstraint(["payment_id", "line"], ["payment_lines.payment_id", "payment_lines.line"]),
        ForeignKeyConstraint(["item_type", "item_id"], ITEM),
        one_of("status", "active", "superseded", "voided"),
        one_of("fulfilment", "sessions", "test_cards", "ownership"),
        one_of("session_count_source", "purchaseTier", "sessionCount", "default"),
        CheckConstraint("session_count BETWEEN 1 AND 1000", name="session_count_in_range"),
        CheckConstraint("(status = 'voided') = (voided_at IS NOT NULL)", name="voided_has_a_time"),
        CheckConstraint("status <> 'superseded' OR superseded_by IS NOT NULL", name="superseded_names_its_renewal"),
        CheckConstraint("superseded_by <> id", name="no_purchase_supersedes_itself"),
        CheckConstraint("expired_at IS NULL OR expires_on IS NOT NULL", name="only_what_ends_expires"),
        Index(
            "one_active_purchase_per_item",
            "student_id",
            "item_type",
            "item_id",
            unique=True,
            postgresql_where=text("status = 'active'"),
        ),
        Index("student_course_purchases_by_student", "student_id", "purchased_at"),
        Index("student_course_purchases_superseded_by", "superseded_by"),
    )

    id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    workflow_id: Words
    payment_id: MaybeWords = None
    line: int
    student_id: Annotated[str, reference("students.id")]
    item_type: Words
    item_id: Words
    fulfilment: Words
    status: Words
    session_count: int
    session_count_source: Words
    fields: Json = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'")))
    metadata_sources: Object
    metadata_extras: Object
    warnings: Annotated[list[str], Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})]
    series_start: date | None = None
    expires_on: date | None = None
    expired_at: datetime | None = None
    purchased_at: datetime
    completed_at: datetime | None = None
    voided_at: datetime | None = None
    superseded_by: Annotated[str | None, reference("student_course_purchases.id")] = None


class Ownership(Row, table=True):
    """A student owns an item through a purchase; written with the purchase, revoked with it (mission row 37)."""

    __tablename__ = "ownerships"
    __table_args__ = (
        ForeignKeyConstraint(["item_type", "item_id"], ITEM),
        Index("ownerships_live", "student_id", "item_type", "item_id", postgresql_where=text("revoked_at IS NULL")),
    )

    purchase_id: Annotated[str, reference("student_course_purchases.id", key=True)]
    item_type: Id
    item_id: Id
    student_id: Annotated[str, reference("students.id")]
    purchased_at: datetime
    revoked_at: datetime | None = None


class Enrollment(Row, table=True):
    """Access to an item through one purchase, until `expires_on` (inclusive) if set. Enrolled = any live row.

    `expired`: it was time that ended it, not an undo.
    """

    __tablename__ = "enrollments"
    __table_args__ = (
        ForeignKeyConstraint(["item_type", "item_id"], ITEM),
        CheckConstraint("NOT expired OR (ended_at IS NOT NULL AND expires_on IS NOT NULL)", name="expired_has_ended"),
        Index("enrollments_live", "student_id", "item_type", "item_id", postgresql_where=text("ended_at IS NULL")),
    )

    purchase_id: Annotated[str, reference("student_course_purchases.id", key=True)]
    item_type: Id
    item_id: Id
    student_id: Annotated[str, reference("students.id")]
    expires_on: date | None = None
    enrolled_at: datetime
    ended_at: datetime | None = None
    expired: bool = defaulted("false", False)


class OutboxEvent(Row, table=True):
    """An event for others, written with what it tells of; relayed after the commit, never before (mission row 27)."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("key"),
        Index("outbox_unpublished", "id", postgresql_where=text("published_at IS NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    key: Words
    type: Words
    data: Object
    occurred_at: datetime
    published_at: datetime | None = None


class LearningVersion(Row, table=True):
    """The version in a student's learning cache key; a bump makes every cached page stale at once (mission row C8)."""

    __tablename__ = "learning_versions"

    student_id: Id
    version: Minor = 1
