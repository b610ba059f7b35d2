"""What a story is made of: steps, why one fails, how long it may wait, what goes on in a new run, who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from workflows.inbox import Intent

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

# What may end a run: never `Exception` (a bug must suspend, not refund), never BaseException (continue-as-new).
STORY_ENDS = (FailureError, TimeoutError, asyncio.CancelledError)


class Kind(StrEnum):
    """How a step fails: a gate may end the purchase, a repair step waits, a best-effort step is only noted."""

    GATE = "gate"
    REPAIR = "repair"
    BEST_EFFORT = "best effort"


@dataclass(frozen=True)
class Step(Generic[A, R]):
    """One row of the table: do and undo take the same argument, so a new run can rebuild any undo."""

    do: Callable[[Any, A], R]
    kind: Kind
    undo: Callable[[Any, A], Any] | None = None

    @property
    def name(self) -> str:
        return self.do.__name__


@dataclass(frozen=True)
class Why:
    """Why a step or undo failed. Trouble (no refusal) is retried with growing pauses and has no deadline."""

    code: str
    message: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    refusal: bool = False
    ends: bool = False  # a gate refused so ends the story
    waits: bool = False  # waits on a named timer, needs nobody
    heals: bool = False  # time may heal it
    expires_as: str = ""  # the code it ends with at its deadline, if another


@dataclass
class Patience:
    """How long a step has waited, and how long it may. `rounds` of trouble make the pauses grow."""

    since: datetime | None = None
    rounds: int = 0
    refused_for: float = 0.0  # seconds parked on refusals
    pending_for: float = 0.0
    escalated: bool = False


@dataclass(frozen=True)
class Resumed:
    """What a parked run hands to its continuation; the step ledger remembers the rest, the audit the acts that are done.

    `code`: set when it was rolling back, and `decided_by` then the cancel that said so. `acts`: not answered or not on
    record. `held`: wait for a second person.
    """

    stage: str
    patience: dict[str, Patience]
    undos: list[str]  # the steps whose undos are owed
    skipped: list[str]
    acts: list[Intent]
    held: list[Intent]
    code: str = ""
    decided_by: Intent | None = None
    refunded: bool = False
    past_pivot: bool = False


class Ends(Exception):
    """The story ends here and is rolled back: for this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Board(Protocol):
    """Where the engine shows what happens, for people."""

    def at(self, stage: str) -> None: ...
    def done(self, stage: str) -> None: ...
    def parked(
        self, stage: str, why: Why, since: datetime, next_try: datetime | None, gives_up: datetime | None = None
    ) -> None: ...
    def gave_up(self, stage: str, why: Why) -> None: ...
    def held(self, acts: dict[str, Intent]) -> None: ...


async def uncancellable(coro: Coroutine[Any, Any, T]) -> T:
    """Run to the end whatever cancels arrive (one `shield` would lose all but the undo in flight)."""
    task = asyncio.create_task(coro)
    while not task.done():
        try:
            await workflow.wait([task])
        except asyncio.CancelledError:
            continue
    return task.result()


def ended_by(code: str, message: str) -> ApplicationError:
    """The failure a story ends with: its type is the code; benign, so nobody is paged."""
    return ApplicationError(message, type=code, non_retryable=True, category=ApplicationErrorCategory.BENIGN)


Deed = tuple[Callable[[Any, Any], Any], Any]  # an activity and its argument


class Desk(Protocol):
    """What a story does beside its steps: tell others, store what operators decide, keep the record of their acts."""

    def needs_attention(self, why: Why) -> Deed: ...
    def escalated(self, why: Why) -> Deed: ...
    def decide(self, intent: Intent) -> Deed: ...  # answers what the same act was answered before
    async def decided(self, intent: Intent) -> None: ...
    def record(self, intent: Intent) -> Deed: ...
    def needs_two(self, intent: Intent) -> bool: ...
