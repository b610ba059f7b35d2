"""What people see of a running purchase: search attributes, memo, current details in Temporal UI, `progress`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from domain.refusals import REFUSALS
from workflows.attributes import (
    ATTENTION_REASON,
    ATTENTION_SINCE,
    NEEDS_ATTENTION,
    PURCHASE_STAGE,
    SESSIONS_MISSING,
    TRAINER_ID,
)
from workflows.story import Why


@dataclass(frozen=True)
class Attention:
    """Why somebody (or a timer) is waited for. Times are ISO 8601, UTC; `next_try` None: only a message helps."""

    stage: str
    code: str
    message: str
    since: str
    next_try: str | None
    next_action: str


@dataclass(frozen=True)
class Progress:
    """The answer of the query `progress`."""

    stage: str
    done: list[str]
    notes: list[str]
    attention: Attention | None = None
    waiting: Attention | None = None  # on a named timer, nobody needed


@dataclass
class PurchaseBoard:
    """Keeps the story and publishes it; writes to the history only what changed."""

    workflow_id: str
    stage: str = ""
    done_steps: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    attention: Attention | None = None
    waiting: Attention | None = None

    def at(self, stage: str) -> None:
        if stage != self.stage:
            self.stage = stage
            _upsert([PURCHASE_STAGE.value_set(stage)])
        self._clear()
        self._tell()

    def done(self, stage: str) -> None:
        self.done_steps.append(f"{stage} ({_moment(workflow.now())})")
        self._clear()

    def parked(self, stage: str, why: Why, since: datetime, next_try: datetime | None) -> None:
        shown = Attention(
            stage=stage,
            code=why.code,
            message=why.message,
            since=_moment(since),
            next_try=_moment(next_try) if next_try else None,
            next_action=REFUSALS[why.code].next_action,
        )
        missing = why.facts.get("missing")
        if why.waits:
            self.waiting = shown
        else:
            if self.attention is None or self.attention.code != why.code:
                _upsert(
                    [
                        NEEDS_ATTENTION.value_set(True),
                        ATTENTION_REASON.value_set(why.code),
                        ATTENTION_SINCE.value_set(since),
                        *([SESSIONS_MISSING.value_set(missing)] if isinstance(missing, int) else []),
                    ]
                )
            self.attention = shown
        workflow.upsert_memo({"next_retry": shown.next_try, "next_action": shown.next_action, "message": shown.message})
        self._tell()

    def gave_up(self, stage: str, why: Why) -> None:
        self.notes.append(f"{stage} failed and was left to the repair ({why.code}: {why.message})")
        workflow.logger.warning("best_effort_step_failed", extra={"step": stage, "code": why.code})
        self._tell()

    def held_by(self, trainer_id: str) -> None:
        _upsert([TRAINER_ID.value_set(trainer_id)])

    def held(self, acts: dict[str, str]) -> None:
        """Acts that wait for a second person: who asked first, by request key. The API and the case file tell it."""
        workflow.upsert_memo({"second_person": acts or None})

    def note(self, text: str) -> None:
        """Something support should know that changes nothing."""
        self.notes.append(text)
        self._tell()

    def progress(self) -> Progress:
        return Progress(self.stage, list(self.done_steps), list(self.notes), self.attention, self.waiting)

    def _clear(self) -> None:
        if self.attention:
            _upsert(
                [
                    NEEDS_ATTENTION.value_set(False),
                    ATTENTION_REASON.value_unset(),
                    ATTENTION_SINCE.value_unset(),
                    SESSIONS_MISSING.value_unset(),
                ]
            )
        if self.attention or self.waiting:
            workflow.upsert_memo({"next_retry": None, "next_action": None, "message": None})
        self.attention = self.waiting = None

    def _tell(self) -> None:
        lines = [f"**Stage:** `{self.stage}`"]
        if self.attention:
            seen = self.attention
            lines += [
                f"### Needs attention: {seen.code}",
                seen.message,
                f"- since {seen.since}",
                f"- next try by itself: {seen.next_try or 'none, only an operator helps'}",
                f"- **what to do:** {seen.next_action}",
                f"- with the command line: `coursaga purchases show {self.workflow_id}`, then retry-now, cancel, ...",
                f"- more: docs/runbook.md, {seen.code}",
            ]
        elif self.waiting:
            lines += [f"Waiting: {self.waiting.message} (looks again {self.waiting.next_try})"]
        lines += ["### Done", *(f"- {step}" for step in self.done_steps or ["nothing yet"])]
        if self.notes:
            lines += ["### Notes", *(f"- {note}" for note in self.notes)]
        workflow.set_current_details("\n".join(lines))


def _upsert(updates: list[SearchAttributeUpdate[Any]]) -> None:
    workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType] - partly typed in the SDK


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
