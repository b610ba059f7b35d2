"""What a door was asked for. The table refuses UPDATE, DELETE and TRUNCATE (a trigger of the migration)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sqlalchemy import CheckConstraint, Column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from db.tables.columns import Id, Json, MaybeWords, Row, Words, defaulted, one_of, reference
from domain.purchase import ITEM_TYPES


class PurchaseRequest(Row, table=True):
    """What the direct and the free door were asked for, by whom and why; the first request of a purchase stays.

    Without a payment it is what says which item is bought; beside a payment its metadata is the weakest source (C5).
    """

    __tablename__ = "purchase_requests"
    __table_args__ = (
        one_of("item_type", *ITEM_TYPES),
        CheckConstraint("NOT supersede OR reason IS NOT NULL", name="who_supersedes_says_why"),
    )

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    item_type: Words
    item_id: Words
    said: Json = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'")))
    supersede: bool = defaulted("false", False)
    actor: Words
    reason: MaybeWords = None
    requested_at: datetime


class RequestKey(Row, table=True):
    """A key that a caller gave a request. `scope`: whose it is, the caller's or that of what is acted on; `said`: a hash.

    `answered`: the purchase it was answered with, at the doors that find or make one.
    """

    __tablename__ = "request_keys"

    door: Id
    scope: Id
    key: Id
    said: Words
    used_at: datetime
    answered: MaybeWords = None
