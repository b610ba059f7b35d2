"""What people see of a running purchase: search attributes, memo, current details in Temporal UI, `progress`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from domain.next_actions import actions_for
from domain.purchase import PaymentConfirmed, PurchaseCreated
from domain.refusals import REFUSALS
from workflows.attributes import (
    ATTENTION_REASON,
    ATTENTION_SINCE,
    NEEDS_ATTENTION,
    PURCHASE_STAGE,
    RUNNING,
    SESSIONS_MISSING,
    TRAINER_ID,
)
from workflows.inbox import Intent
from workflows.messages import data_for_ui
from workflows.saga_types import Failure

# Other stages are steps: where a purchase stands that goes through them is read from the ledger.
_LISTED = ("rolling_back", "completed", "rolled back")


@dataclass(frozen=True)
class Attention:
    """Why a purchase waits for somebody, or for a timer.

    Times are ISO 8601, UTC; `next_try` None: it is not tried by itself.

    `gives_up`: when it is undone and the money given back by itself, None: never.
    """

    stage: str
    code: str
    message: str
    since: str
    next_try: str | None
    next_action: str
    gives_up: str | None = None


@dataclass(frozen=True)
class Progress:
    """The answer of the query `progress`."""

    stage: str
    done: list[str]
    notes: list[str]
    attention: Attention | None = None
    waiting: Attention | None = None  # on a named timer, nobody needed


@dataclass
class PurchaseStatus:
    """Keeps the state of a purchase and publishes it; writes to the history only what changed."""

    workflow_id: str
    stage: str = ""
    bought: str = ""
    done_steps: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    attention: Attention | None = None
    waiting: Attention | None = None
    waits_for_second: list[str] = field(default_factory=list[str])
    carried: bool = False  # what an earlier run was parked for is still shown
    in_lists: str = RUNNING  # the stage by which lists find it
    trainer_id: str = ""  # not yet written

    def __post_init__(self) -> None:
        if self.carried:
            self.in_lists = ""  # not known: what an earlier run wrote

    def entered(self, stage: str) -> None:
        self.stage = stage
        self._clear()
        if stage in _LISTED:
            self._list(stage)
        self._tell()

    def done(self, stage: str) -> None:
        self.done_steps.append(f"{stage} ({_moment(workflow.now())})")
        self._clear()

    def parked(
        self, stage: str, failure: Failure, since: datetime, next_try: datetime | None, gives_up: datetime | None = None
    ) -> None:
        shown = Attention(
            stage=stage,
            code=failure.code,
            message=failure.message,
            since=_moment(since),
            next_try=_moment(next_try) if next_try else None,
            next_action=REFUSALS[failure.code].next_action,
            gives_up=_moment(gives_up) if gives_up else None,
        )
        missing = failure.facts.get("missing")
        if failure.waits:
            self.waiting = shown
        else:
            if self.carried:
                self._clear()
            if self.attention is None or self.attention.code != failure.code:
                self._list(
                    stage,
                    NEEDS_ATTENTION.value_set(True),
                    ATTENTION_REASON.value_set(failure.code),
                    ATTENTION_SINCE.value_set(since),
                    *([SESSIONS_MISSING.value_set(missing)] if isinstance(missing, int) else []),
                )
            self.attention = shown
        self._list(stage)
        workflow.upsert_memo(
            {
                "next_retry": shown.next_try,
                "gives_up": shown.gives_up,
                "next_action": shown.next_action,
                "message": shown.message,
            }
        )
        self._tell()

    def has(self, purchase: PurchaseCreated | None, confirmed: PaymentConfirmed | None) -> None:
        """Note what was bought, as the catalogue and the payment settled it."""
        if purchase and confirmed and purchase.fulfilment == "sessions":
            source = confirmed.session_count_source
            self.bought = f"{confirmed.session_count} lessons (by {source}) of `{purchase.item_id}`"
        elif purchase:
            self.bought = f"`{purchase.item_id}`"

    def held_by(self, trainer_id: str) -> None:
        self.trainer_id = trainer_id

    def held(self, acts: dict[str, Intent]) -> None:
        """Publish the acts that wait for a second person, by request key: what was asked for, and by whom.

        The case file shows it.
        """
        said = {
            key: f"{act.verb} {act.values or ''} asked for by {act.actor}".replace("  ", " ")
            for key, act in acts.items()
        }
        workflow.upsert_memo({"second_person": said or None})
        self.waits_for_second = [f"{text}, key `{key}`" for key, text in said.items()]
        self._tell()

    def note(self, text: str) -> None:
        """Add a note that support should know and that changes nothing."""
        self.notes.append(text)
        self._tell()

    def progress(self) -> Progress:
        return Progress(self.stage, list(self.done_steps), list(self.notes), self.attention, self.waiting)

    def _clear(self) -> None:
        if self.attention or self.carried:
            self._list(
                RUNNING,
                NEEDS_ATTENTION.value_set(False),
                ATTENTION_REASON.value_unset(),
                ATTENTION_SINCE.value_unset(),
                SESSIONS_MISSING.value_unset(),
            )
        elif self.waiting:
            self._list(RUNNING)
        if self.attention or self.waiting or self.carried:
            workflow.upsert_memo({"next_retry": None, "gives_up": None, "next_action": None, "message": None})
        self.attention = self.waiting = None
        self.carried = False

    def _list(self, stage: str, *more: SearchAttributeUpdate[Any]) -> None:
        """Write what lists find it by: the stage where it parks, rolls back or ends, else RUNNING. A write costs."""
        updates = list(more)
        if stage != self.in_lists:
            updates.append(PURCHASE_STAGE.value_set(stage))
            self.in_lists = stage
        if updates and self.trainer_id:
            updates.append(TRAINER_ID.value_set(self.trainer_id))
            self.trainer_id = ""
        if updates:
            _upsert(updates)

    def _tell(self) -> None:
        """Publish the state as markdown. A list follows an empty line: Temporal UI shows it as one line otherwise."""
        parts = [_listed(f"**Stage:** `{self.stage}`", f"**Bought:** {self.bought}" if self.bought else "")]
        if seen := self.attention:
            parts += [f"### Needs attention: {seen.code}", seen.message, self._what_next(seen)]
        elif seen := self.waiting:
            parts += ["### Waiting, nobody is needed", seen.message, _listed(*_by_itself(seen))]
        if seen:
            parts += self._what_you_can_do(seen)
        if self.waits_for_second:
            parts += ["### Waits for a second person", _listed(*self.waits_for_second)]
        parts += ["### Done", _listed(*self.done_steps or ["nothing yet"])]
        if self.notes:
            parts += ["### Notes", _listed(*self.notes)]
        workflow.set_current_details("\n\n".join(parts))

    def _what_next(self, seen: Attention) -> str:
        return _listed(
            f"**since:** {seen.since}",
            *_by_itself(seen),
            f"**what to do:** {seen.next_action}",
            f"**more:** `coursaga purchases case {self.workflow_id}`; docs/runbook.md, {seen.code}",
        )

    def _what_you_can_do(self, seen: Attention) -> list[str]:
        code = seen.code if seen is self.attention else None
        actions = actions_for(seen.stage, code)
        if not actions:
            return []
        told_at = f"{workflow.now():%Y%m%dT%H%M%S}"  # in the key: what is copied from here acts once, and later again
        offers = [f"**{act.verb}**: {act.why} `{data_for_ui(f'{act.verb}-{told_at}', act.values)}`" for act in actions]
        return ["### What you can do here", "More Actions, Send an Update, with this as Data:", _listed(*offers)]


def _by_itself(seen: Attention) -> list[str]:
    """Return what happens if nobody does anything."""
    told = [f"**next try by itself:** {seen.next_try}"] if seen.next_try else []
    if seen.gives_up:
        money = "the payment is cancelled" if seen.code == "PAYMENT_PENDING" else "the money goes back"
        told.append(f"**gives up:** {seen.gives_up}, and {money}")
    return told or ["**by itself:** nothing more happens, only an operator helps"]


def _listed(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines if line)


def _upsert(updates: list[SearchAttributeUpdate[Any]]) -> None:
    workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType] - partly typed in the SDK


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
