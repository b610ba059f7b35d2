"""Events in: what was taken and what could not be. Events out: who is told by webhook, and how that went."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from db.tables.columns import Id, MaybeWords, Minor, Object, Row, Words, defaulted, one_of, reference

_OPEN = text("delivered_at IS NULL AND given_up_at IS NULL")


class TakenEvent(Row, table=True):
    """An event of others that passed the door, once per key (mission row 20).

    `handled_at`: when every line of its payment had its workflow; until then a redelivery goes on where it stopped.
    """

    __tablename__ = "taken_events"

    key: Id
    event_id: Words
    type: Words
    payment_id: Words
    data: Object
    occurred_at: datetime
    taken_at: datetime
    handled_at: datetime | None = None


class DeadLetter(Row, table=True):
    """A message that was tried and could not be taken: its original bytes, why, and the payload an operator made of it.

    `headers`: [name, value in base64 or null] each. `no_value`: it was null, not empty. `topic_says`: why the topic of dead letters did not take it whole.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (
        UniqueConstraint("digest"),
        CheckConstraint("tries >= 1", name="tries_from_one"),
        Index("dead_letters_waiting", "id", postgresql_where=text("replayed_at IS NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    digest: Words
    topic: Words
    topic_partition: Minor
    topic_offset: Minor
    message_key: bytes | None = None
    payload: bytes
    code: Words
    detail: Words
    tries: Minor
    arrived_at: datetime
    fixed_payload: MaybeWords = None
    replayed_at: datetime | None = None
    headers: Annotated[list[Any] | None, Field(sa_type=JSONB(none_as_null=True))] = None
    topic_says: MaybeWords = None
    no_value: bool = defaulted("false", False)


class RefusedMessage(Row, table=True):
    """How often a message of a topic was refused, until its offset is committed (mission row 34)."""

    __tablename__ = "refused_messages"

    topic: Id
    topic_partition: Annotated[int, Field(sa_type=BigInteger, primary_key=True)]
    topic_offset: Annotated[int, Field(sa_type=BigInteger, primary_key=True)]
    digest: Words
    tries: Minor
    code: Words
    detail: Words
    settled: bool = defaulted("false", False)


class DeadLetterAct(Row, table=True):
    """The audit of dead letters: one row per act. It refuses UPDATE, DELETE and TRUNCATE (a trigger of the migration)."""

    __tablename__ = "dead_letter_acts"
    __table_args__ = (one_of("verb", "fix", "replay"),)

    dead_letter_id: Annotated[int, Field(sa_type=BigInteger, foreign_key="dead_letters.id", primary_key=True)]
    request_key: Id
    verb: Words
    actor: Words
    reason: Words
    before: Object
    after: Object
    outcome: Words
    acted_at: datetime


class WebhookTarget(Row, table=True):
    """Somebody who is told of events over HTTP. `event_types` empty: of all.

    What is sent is signed with a secret, stored sealed (`db.sealing`). `secret`: as it was stored before, until it is
    sealed. A removed target has none.
    """

    __tablename__ = "webhook_targets"
    __table_args__ = (
        CheckConstraint(
            "removed_at IS NOT NULL OR num_nonnulls(secret, sealed_secret) = 1", name="one_secret_while_live"
        ),
        Index("one_live_target_per_url", "url", unique=True, postgresql_where=text("removed_at IS NULL")),
    )

    id: Id
    url: Words
    secret: MaybeWords = None
    event_types: Annotated[list[str], Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})]
    created_at: datetime
    removed_at: datetime | None = None
    sealed_secret: MaybeWords = None


class WebhookDelivery(Row, table=True):
    """One event for one target. `subject` is what the event is about: of one subject the events are told in order."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("delivered_at IS NULL OR given_up_at IS NULL", name="one_end"),
        Index("webhook_deliveries_open", "target_id", "subject", "event_id", postgresql_where=_OPEN),
        Index("webhook_deliveries_by_event", "event_id"),
    )

    target_id: Annotated[str, reference("webhook_targets.id", key=True)]
    event_id: Annotated[int, Field(sa_type=BigInteger, foreign_key="outbox.id", primary_key=True)]
    subject: Words
    tries: int = defaulted("0", 0, BigInteger)
    next_try_at: datetime
    answer: MaybeWords = None
    delivered_at: datetime | None = None
    given_up_at: datetime | None = None
