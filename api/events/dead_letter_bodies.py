"""Request and answer bodies of the dead-letter endpoints."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from api.http.act_models import ActBody
from api.http.json_models import Answer, Body
from application.event_schema import EXAMPLE
from application.replay_dead_letters import TAKEN
from db.reads.events import LAST, LetterActRow, LetterRow

_CODE = r"^[A-Z][A-Z0-9_]{0,63}$"

_ROW: dict[str, Any] = {
    "id": 7, "code": "PAYMENT_NOT_FOUND", "detail": "No payment with a line has this id; nothing was started.",
    "topic": "payments", "partition": 2, "offset": 41, "bytes": 312, "tries": 3, "begins": "{\"id\": \"018f4c1e\"",
    "fixed": False, "arrivedAt": "2026-11-21T10:00:00Z", "replayedAt": None, "topicSays": None,
}  # fmt: skip
_ACT: dict[str, Any] = {
    "requestKey": "ticket-4711", "verb": "replay", "actor": "ann@example.test", "reason": "the payment is here now",
    "before": {"code": "PAYMENT_NOT_FOUND", "fixed": False, "replayed": False}, "after": {"replayed": True},
    "outcome": TAKEN, "actedAt": "2026-11-21T10:07:00Z",
}  # fmt: skip


class LetterView(Answer):
    """A dead letter in the list. `code`: why it was refused last; `begins`: its first characters."""

    id: int
    code: str
    detail: str
    topic: str
    partition: int
    offset: int
    bytes: int
    tries: int
    begins: str
    fixed: bool = Field(description="an operator has mended its payload")
    arrived_at: datetime
    replayed_at: datetime | None
    topic_says: str | None = Field(description="why the topic of dead letters did not take it whole, if it did not")
    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})


class LetterActView(Answer):
    """An operator's act on a dead letter."""

    request_key: str
    verb: str
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    acted_at: datetime


class LetterHeader(Answer):
    """A header that came with the message; its value in base64, null when it had none."""

    name: str
    value_base64: str | None


class LetterFile(LetterView):
    """A whole dead letter. `original` is its text; if its bytes are no text, `originalBase64` has them; null both: no value."""

    key: str | None
    headers: list[LetterHeader]
    original: str | None
    original_base64: str | None
    fixed_payload: Any
    acts: list[LetterActView]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**_ROW, "key": "pay-1", "headers": [{"name": "traceparent", "valueBase64": "MDAtNGJm"}], "original": "{\"id\": ...}", "originalBase64": None, "fixedPayload": None,
                 "acts": [_ACT]}
            ]
        }
    )  # fmt: skip


class LetterPage(Answer):
    """Dead letters in the order they came. `nextAfter` null: this was the last page."""

    dead_letters: list[LetterView]
    next_after: int | None
    model_config = ConfigDict(json_schema_extra={"examples": [{"deadLetters": [_ROW], "nextAfter": None}]})


class FixBody(ActBody):
    """`payload`: the whole event as it should have been."""

    payload: dict[str, Any]
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "typing error", "requestKey": "ticket-4711", "payload": EXAMPLE}]}
    )


class ReplayBody(ActBody):
    """Why the letter is replayed, and the key that makes the replay happen once."""


class LetterAnswer(Answer):
    """`outcome`: fixed, taken, duplicate, or the code of a refusal. `detail` is set if it was refused just now."""

    id: int
    outcome: str
    detail: str | None = None
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 7, "outcome": TAKEN, "detail": None}]})


class ReplayManyBody(ActBody):
    """Which waiting letters to replay: ids from `first` to `last`, those refused with `code`, or `all`."""

    first: int | None = Field(None, ge=1, le=LAST)
    last: int | None = Field(None, ge=1, le=LAST)
    code: str | None = Field(None, pattern=_CODE)
    all: bool = False
    limit: int = Field(1000, ge=1, le=10_000)
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reason": "payments are here now", "requestKey": "ticket-4711", "first": 7, "last": 40}]
        }
    )


class ReplayManyAnswer(Answer):
    """Of `matched`: how many `replayed`, `refused` again, `left` for the same request again; and some refusals."""

    matched: int
    replayed: int
    refused: int
    left: int
    refusals: list[str]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"matched": 3, "replayed": 2, "refused": 1, "left": 0, "refusals": ["9: EVENT_NOT_UTF8"]}]
        }
    )


class Filters(Body):
    """Which dead letters to list."""

    state: Literal["waiting", "replayed", "all"] = "waiting"
    code: str | None = Field(None, pattern=_CODE)
    after: int = Field(0, ge=0, le=LAST, description="`nextAfter` of the page before")
    limit: int = Field(100, ge=1, le=500)
    model_config = ConfigDict(strict=False)


def letter_view(row: LetterRow) -> LetterView:
    """Return a dead letter as the list shows it."""
    return LetterView(**_viewed(row))


def letter_file(row: LetterRow, acts: Sequence[LetterActRow]) -> LetterFile:
    """Return a whole dead letter with its acts."""
    text = None if row.no_value else _text(row.payload)
    return LetterFile(
        **_viewed(row),
        key=None if row.message_key is None else row.message_key.decode("utf-8", "backslashreplace"),
        headers=[LetterHeader(name=str(name), value_base64=value) for name, value in row.headers or ()],
        original=text,
        original_base64=None if text is not None or row.no_value else base64.b64encode(row.payload).decode(),
        fixed_payload=json.loads(row.fixed_payload) if row.fixed_payload else None,
        acts=[LetterActView(**vars(act)) for act in acts],
    )


def _viewed(row: LetterRow) -> dict[str, Any]:
    begins = row.payload[:120].decode("utf-8", "backslashreplace")
    return {
        "id": row.id, "code": row.code, "detail": row.detail, "topic": row.topic, "partition": row.topic_partition,
        "offset": row.topic_offset, "bytes": row.size, "tries": row.tries, "begins": begins,
        "fixed": row.fixed_payload is not None, "arrived_at": row.arrived_at, "replayed_at": row.replayed_at,
        "topic_says": row.topic_says,
    }  # fmt: skip


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
