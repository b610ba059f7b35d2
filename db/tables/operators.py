"""What operators decided and what they did. Both tables refuse UPDATE, DELETE and TRUNCATE (triggers of the migration)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sqlalchemy import CheckConstraint, Column, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from db.tables.columns import Id, Json, MaybeWords, Minor, Object, Row, Words, one_of, reference


class OperatorDecision(Row, table=True):
    """What an operator decided and later dos and undos of the same attempt read; of one verb the latest counts."""

    __tablename__ = "operator_decisions"
    __table_args__ = (
        one_of(
            "verb",
            "amend",
            "assign_trainer",
            "approve_allocation",
            "create_sessions",
            "cancel",
            "skip_step",
            "retry_now",
            "settle_refund",
        ),
    )

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    request_key: Id
    attempt: Minor
    verb: Words
    given: Json = Field(sa_column=Column("values", JSONB, nullable=False, server_default=text("'{}'")))
    actor: Words
    reason: Words
    decided_at: datetime


class OperatorAct(Row, table=True):
    """The audit: one row per act, what was before and what came of it (invariant I10)."""

    __tablename__ = "operator_acts"

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    request_key: Id
    verb: Words
    given: Json | None = Field(default=None, sa_column=Column("values", JSONB))  # acts of before have none
    actor: Words
    second_actor: MaybeWords = None
    reason: Words
    before: Object
    after: Object
    outcome: Words
    acted_at: datetime


class BulkRequest(Row, table=True):
    """An act on many purchases at once: what its key names, who asked, and who else said yes, to what, where two
    are needed."""

    __tablename__ = "bulk_requests"
    __table_args__ = (
        CheckConstraint("second_actor <> actor", name="two_people_are_two"),
        CheckConstraint("(second_actor IS NULL) = (confirmed_at IS NULL)", name="confirmed_by_somebody"),
    )

    request_key: Id
    verb: Words
    said: Json = Field(sa_column=Column("said", JSONB, nullable=False))
    actor: Words
    second_actor: MaybeWords = None
    reason: Words
    asked_at: datetime
    confirmed_at: datetime | None = None
    covers: list[str] | None = Field(default=None, sa_column=Column("covers", ARRAY(Text)))
