"""Request and answer bodies of bulk acts."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from api.http.json_models import Answer, Body
from api.http.known_words import Attention, Code, Stage
from application.ids import GIVEN_PATTERN, ID_PATTERN, Key, StudentId, Words
from application.temporal_client import Condition, equals
from workflows.attributes import ATTENTION_REASON, ITEM_ID, PAYMENT_ID, PURCHASE_STAGE, STUDENT_ID


class BulkFilter(Body):
    """Selects purchases that need attention; all conditions must hold, at least one is needed."""

    attention: Attention | None = Field(None, description="`any`, or the reason")
    code: Code | None = Field(None, description="the reason it is parked for")
    stage: Stage | None = Field(None, description="the step it is parked at")
    student: StudentId | None = None
    payment: str | None = Field(None, pattern=ID_PATTERN)
    item: str | None = Field(None, pattern=GIVEN_PATTERN)

    def conditions(self) -> list[Condition]:
        """Return the conditions on a run."""
        named = self.attention if self.attention != "any" else None
        given = [
            (ATTENTION_REASON, named), (ATTENTION_REASON, self.code), (PURCHASE_STAGE, self.stage),
            (STUDENT_ID, self.student), (PAYMENT_ID, self.payment), (ITEM_ID, self.item),
        ]  # fmt: skip
        return [equals(key, value) for key, value in given if value is not None]


class BulkBody(Body):
    """`values`: what the verb takes beside reason and requestKey. A dry run, unless `dryRun` is false."""

    verb: str = Field(max_length=64)
    filter: BulkFilter
    reason: Words
    request_key: Key
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    dry_run: bool = True
    limit: int = Field(1000, ge=1, le=10_000)
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "verb": "retry_now",
                    "filter": {"code": "NO_TRAINER_AVAILABLE", "item": "course-piano"},
                    "reason": "three new piano trainers",
                    "requestKey": "ticket-4711",
                    "dryRun": True,
                }
            ]
        }
    )


class BulkAnswer(Answer):
    """What became of the `matched` purchases.

    `done`: answered. `pending`: accepted, not answered yet. `skipped`: acted on before under this key, or refusing the
    act where they stand. `failed`: not reached, or their key is another act's. `left`: for the same request again.

    `awaitingSecondPerson`: nothing was sent; together they move so much money that somebody else has to send the same.
    `held`: how many pending ones wait for a second person each, the same way (their amount is not known yet).
    `newKeyNeeded`: how many matched only after that person's yes: send them under a new requestKey.
    """

    dry_run: bool
    matched: int
    done: int
    pending: int
    held: int
    failed: int
    skipped: int
    left: int
    awaiting_second_person: bool = False
    new_key_needed: int = 0
    sample: list[str] = Field(description="workflow ids, some of those matched")
    failures: list[str] = Field(description="some of those that failed or refused, and why")
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dryRun": True, "matched": 12, "done": 0, "pending": 0, "held": 0, "failed": 0, "skipped": 0, "left": 12,
                    "awaitingSecondPerson": False, "newKeyNeeded": 0, "sample": ["purchase:pay-1:1"], "failures": [],
                }
            ]
        }
    )  # fmt: skip
