"""What can be bought, what lies in a cart, what was paid, and which answers checkout repeats."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from db.tables.columns import Id, Json, MaybeObject, MaybeWords, Minor, Number, Row, Words, defaulted, one_of, reference
from domain.purchase import ITEM_TYPES


class CatalogueItem(Row, table=True):
    """An item for sale. `fulfilment` picks the steps of its purchase; a closed item is not `open`."""

    __tablename__ = "catalogue_items"
    __table_args__ = (
        one_of("item_type", *ITEM_TYPES),
        one_of("fulfilment", "sessions", "test_cards", "ownership"),
        CheckConstraint("price_minor >= 0", name="price_not_negative"),
    )

    item_type: Id
    id: Id
    title: Words
    price_minor: Minor
    currency: Words
    fulfilment: Words
    open: bool = defaulted("true", True)


class BundleSubject(Row, table=True):
    """A subject in a bundle; the key makes a subject named twice count once (mission row 5)."""

    __tablename__ = "bundle_subjects"

    bundle_id: Id
    subject_id: Id


class CartItem(Row, table=True):
    """One thing in a student's cart, with what was said of it; the same item may lie there twice. `processingItemId`
    is this id."""

    __tablename__ = "cart_items"
    __table_args__ = (one_of("item_type", *ITEM_TYPES), Index("cart_items_by_student", "student_id"))

    id: Id
    student_id: Annotated[str, reference("students.id")]
    item_type: Words
    item_id: Words
    details: Json = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'")))
    added_at: datetime = Field(sa_column_kwargs={"server_default": text("now()")})


class Payment(Row, table=True):
    """One charge at the payment provider; amounts in minor units of `currency`."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("id ~ '^[A-Za-z0-9_-]{1,64}$'", name="id_shape"),
        one_of("status", "pending", "succeeded", "failed", "refunded", "partially_refunded"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        Index("payments_by_student", "student_id", "created_at"),
    )

    id: Id
    student_id: Annotated[str, reference("students.id")]
    status: Words
    amount_minor: Minor
    currency: Words
    created_at: datetime


class PaymentLine(Row, table=True):
    """One item bought by a payment, with its share of the amount and its metadata exactly as written at checkout."""

    __tablename__ = "payment_lines"
    __table_args__ = (
        CheckConstraint("line >= 1", name="line_from_one"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        CheckConstraint("coins >= 0", name="coins_not_negative"),
    )

    payment_id: Annotated[str, reference("payments.id", key=True)]
    line: Number
    item_type: Words
    item_id: Words
    amount_minor: Minor
    coins: int = defaulted("0", 0, BigInteger)
    details: Json = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'")))


class IdempotencyKey(Row, table=True):
    """A checkout by the key its caller gave it, written with its payment, before the provider is asked.

    `answer` None: not answered yet; until `taken_until` a request is at it. The key to payments is looked at on commit.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        UniqueConstraint("payment_id"),
        ForeignKeyConstraint(["payment_id"], ["payments.id"], deferrable=True, initially="DEFERRED"),
        CheckConstraint("length(key) BETWEEN 8 AND 255", name="key_length"),
        Index("idempotency_keys_by_time", "created_at"),
    )

    actor: Id
    operation: Id
    key: Id
    request_hash: Words
    payment_id: Words
    taken_until: datetime
    answer: MaybeObject = None
    created_at: datetime


class Refund(Row, table=True):
    """Money on its way back. The row is committed before the provider is asked; its id is the provider's key.

    No key to payment_lines: money the provider took is given back, whether or not the line is known here.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("payment_id", "line"),
        one_of("status", "requested", "succeeded", "failed"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
    )

    id: Id
    payment_id: Words
    line: int
    amount_minor: Minor
    currency: Words
    status: Words
    provider_id: MaybeWords = None
    requested_at: datetime
    settled_at: datetime | None = None
