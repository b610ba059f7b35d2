"""The trainer held for a purchase, the slots held, the lessons made."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKeyConstraint, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE, ExcludeConstraint
from sqlmodel import Field

from db.tables.columns import Id, Json, MaybeWords, Number, Object, Row, Words, defaulted, one_of, reference

NOT_CANCELLED = "status <> 'cancelled'"
ON_HOLD = "status = 'on_hold'"


def _clock() -> tuple[CheckConstraint, CheckConstraint]:
    """What was decided where the clocks skip (`gap`) or repeat (`fold`) the time asked for."""
    shifted = CheckConstraint("(clock IS NOT DISTINCT FROM 'gap') = (asked_start IS NOT NULL)", name="gap_has_asked")
    return one_of("clock", "gap", "fold"), shifted


class Allocation(Row, table=True):
    """A trainer held for a purchase; `lost` says why each other candidate was not chosen, `won` why this one was, and
    `decided_by` who decided: `automatic` or an operator (mission rows 73, 77, 78).

    `on_hold`: held before it is paid for, until `hold_expires_at`, by a student for a course and no purchase yet; the
    same row becomes the purchase's allocation. `hold_number` counts the student's live holds, of which there are few.
    """

    __tablename__ = "allocations"
    __table_args__ = (
        one_of("status", "on_hold", "proposed", "approved", "cancelled"),
        CheckConstraint(
            "status <> 'on_hold' OR (purchase_id IS NULL AND course_id IS NOT NULL"
            " AND hold_number IS NOT NULL AND hold_expires_at IS NOT NULL)",
            name="hold_is_whole",
        ),
        CheckConstraint(
            "purchase_id IS NOT NULL OR (hold_expires_at IS NOT NULL AND status IN ('on_hold', 'cancelled'))",
            name="only_holds_lack_a_purchase",
        ),
        CheckConstraint("hold_number BETWEEN 1 AND 3", name="hold_number_known"),
        Index("one_allocation_per_purchase", "purchase_id", unique=True, postgresql_where=text(NOT_CANCELLED)),
        Index("allocations_by_trainer", "trainer_id"),
        Index("one_hold_per_course", "student_id", "course_id", unique=True, postgresql_where=text(ON_HOLD)),
        Index("few_holds_per_student", "student_id", "hold_number", unique=True, postgresql_where=text(ON_HOLD)),
        Index("holds_by_end", "hold_expires_at", postgresql_where=text(ON_HOLD)),
        Index(
            "holds_of_student",
            "student_id",
            "course_id",
            "created_at",
            postgresql_where=text("hold_expires_at IS NOT NULL AND purchase_id IS NULL"),
        ),
    )

    id: Id
    purchase_id: Annotated[str | None, reference("student_course_purchases.id")] = None
    trainer_id: Annotated[str, reference("trainers.id")]
    student_id: Annotated[str, reference("students.id")]
    status: Words
    details: Json = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'")))
    lost: Object
    created_at: datetime
    approved_at: datetime | None = None
    cancelled_at: datetime | None = None
    won: Object
    decided_by: Annotated[str, defaulted("'automatic'", "automatic", Text)]
    course_id: MaybeWords = None
    hold_number: Annotated[int | None, Field(sa_type=BigInteger)] = None
    hold_expires_at: datetime | None = None


class RefusedMatching(Row, table=True):
    """Why the last look for a trainer found nobody; written anew only when the result differs."""

    __tablename__ = "refused_matchings"

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    code: Words
    message: Words
    lost: Object
    decided_by: Annotated[str, defaulted("'automatic'", "automatic", Text)]
    refused_at: datetime


class TrainerSlot(Row, table=True):
    """A time a trainer and a student hold together; `[)`, so back to back is fine, overlap is impossible (row 65)."""

    __tablename__ = "trainer_slots"
    __table_args__ = (
        one_of("status", "held", "cancelled"),
        *_clock(),
        CheckConstraint("number >= 1", name="number_from_one"),
        CheckConstraint(
            "NOT isempty(during) AND lower_inc(during) AND NOT upper_inc(during)"
            " AND NOT lower_inf(during) AND NOT upper_inf(during)",
            name="during_is_a_lesson",
        ),
        ExcludeConstraint(
            ("trainer_id", "="),
            ("during", "&&"),
            name="trainer_slots_trainer_is_free",
            using="gist",
            where=text(NOT_CANCELLED),
        ),
        ExcludeConstraint(
            ("student_id", "="),
            ("during", "&&"),
            name="trainer_slots_student_is_free",
            using="gist",
            where=text(NOT_CANCELLED),
        ),
    )

    allocation_id: Annotated[str, reference("allocations.id", key=True)]
    number: Number
    trainer_id: Annotated[str, reference("trainers.id")]
    student_id: Annotated[str, reference("students.id")]
    during: Any = Field(sa_column=Column(TSTZRANGE, nullable=False))
    local_start: datetime = Field(sa_column=Column(DateTime(), nullable=False))
    zone: Words
    status: Words
    clock: MaybeWords = None
    asked_start: datetime | None = Field(default=None, sa_column=Column(DateTime()))


class CalendarLink(Row, table=True):
    """The private link to the calendar of a student or a trainer; what opens it is kept as a hash."""

    __tablename__ = "calendar_links"
    __table_args__ = (CheckConstraint("owner IN ('student', 'trainer')", name="calendar_link_owner"),)

    owner: Id
    owner_id: Id
    token_hash: Annotated[str, Field(sa_type=Text, unique=True)]
    made_by: Words
    made_at: datetime


class SlotHistory(Row, table=True):
    """What a slot was until it was given to another trainer or another time; a trigger writes it, only added to."""

    __tablename__ = "slot_history"
    __table_args__ = (
        ForeignKeyConstraint(["allocation_id", "number"], ["trainer_slots.allocation_id", "trainer_slots.number"]),
        Index("slot_history_by_slot", "allocation_id", "number"),
        Index("slot_history_by_trainer", "trainer_id", text("upper(during)")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    allocation_id: Words
    number: int
    trainer_id: Annotated[str, reference("trainers.id")]
    during: Any = Field(sa_column=Column(TSTZRANGE, nullable=False))
    local_start: datetime = Field(sa_column=Column(DateTime(), nullable=False))
    zone: Words
    until: datetime


class LessonSession(Row, table=True):
    """One lesson, numbered 1..N in its allocation, at its slot's time; shown at `local_start` in `zone`.

    Its slot's trainer gives it. `revision` counts its changes since it was made (triggers), `changed_at` is the last.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        ForeignKeyConstraint(["allocation_id", "number"], ["trainer_slots.allocation_id", "trainer_slots.number"]),
        one_of("status", "scheduled", "cancelled"),
        *_clock(),
        CheckConstraint("starts_at < ends_at", name="starts_before_it_ends"),
        Index("sessions_by_purchase", "purchase_id", "number"),
    )

    allocation_id: Id
    number: Number
    purchase_id: Annotated[str, reference("student_course_purchases.id")]
    starts_at: datetime
    ends_at: datetime
    local_start: datetime = Field(sa_column=Column(DateTime(), nullable=False))
    zone: Words
    status: Words
    created_at: datetime
    clock: MaybeWords = None
    asked_start: datetime | None = Field(default=None, sa_column=Column(DateTime()))
    revision: int = defaulted("0", 0, BigInteger)
    changed_at: datetime | None = None
