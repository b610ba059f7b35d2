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
    """One item bought by a payment, with its share of the amount and its metadata exactly as written at checkout.

    `given_back_minor`: the most the provider was seen to have given back of it, by whomever.
    """

    __tablename__ = "payment_lines"
    __table_args__ = (
        CheckConstraint("line >= 1", name="line_from_one"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        CheckConstraint("coins >= 0", name="coins_not_negative"),
        CheckConstraint("given_back_minor >= 0", name="given_back_not_negative"),
    )

    payment_id: Annotated[str, reference("payments.id", key=True)]
    line: Number
    item_type: Words
    item_id: Words
    amount_minor: Minor
    coins: int = defaulted("0", 0, BigInteger)
    details: Json = Field(sa_column=Column("metadata", JSONB, nullable=False, server_default=text("'{}'")))
    given_back_minor: int = defaulted("0", 0, BigInteger)


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


class RefundDebt(Row, table=True):
    """What an attempt owes of its line, said once. `settled_at_minor`: how much the provider has given back in all when
    nothing is owed any more, None before the first look; `known_paid`: whether its money was known of before that look.
    """

    __tablename__ = "refund_debts"
    __table_args__ = (CheckConstraint("settled_at_minor >= 0", name="settled_at_not_negative"),)

    purchase_id: Annotated[str, reference("purchase_starts.purchase_id", key=True)]
    attempt: int = Field(sa_column=Column("attempt", BigInteger, primary_key=True))
    known_paid: bool
    settled_at_minor: int | None = Field(default=None, sa_type=BigInteger)


class Refund(Row, table=True):
    """One try to give money of a line back. The row is committed before the provider is asked; its id is the
    provider's key, its amount never changes. A try that failed is followed by one of its own, under its own id.

    `given_before_minor`: what the provider had given back of the line by then, by whomever. `settled_outside`: an
    operator says it was given back past the provider. No key to payment_lines: money the provider took is given back,
    whether or not the line is known here; where it is, no more is ever on its way or given than it cost (a trigger).
    """

    __tablename__ = "refunds"
    __table_args__ = (
        Index("one_open_refund", "payment_id", "line", unique=True, postgresql_where=text("status = 'requested'")),
        Index("refunds_by_line", "payment_id", "line"),
        one_of("status", "requested", "succeeded", "failed", "settled_outside"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("given_before_minor >= 0", name="given_before_not_negative"),
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
    number: int = defaulted("1", 1, BigInteger)
    given_before_minor: int = defaulted("0", 0, BigInteger)
