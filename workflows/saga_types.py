"""The parts of a saga: steps, failures, how long it has waited, what goes on in a new run, who is notified."""

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
RUN_ENDS = (FailureError, TimeoutError, asyncio.CancelledError)


class Kind(StrEnum):
    """How a step fails: a gate may end the purchase, a repair step waits; once the pivot is done nothing is undone."""

    GATE = "gate"
    REPAIR = "repair"
    PIVOT = "pivot"


@dataclass(frozen=True)
class Step(Generic[A, R]):
    """One row of the table. Do and undo take the same argument, so that a new run can rebuild any undo.

    The undo of the pivot rules the pivot out; its result says `too_late` when it was done before.
    """

    do: Callable[[Any, A], R]
    kind: Kind
    undo: Callable[[Any, A], Any]

    @property
    def name(self) -> str:
        return self.do.__name__


@dataclass(frozen=True)
class Failure:
    """Why a step or its undo failed. Trouble (no refusal) is retried with growing pauses and has no deadline."""

    code: str
    message: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    refusal: bool = False
    ends: bool = False  # a gate refused: the saga is rolled back
    waits: bool = False  # waits on a named timer, needs nobody
    heals: bool = False  # time may heal it
    expires_as: str = ""  # the code it ends with at its deadline, if another


@dataclass
class RetryState:
    """How long something has been tried in vain. `rounds` counts the rounds of trouble, which make the pauses grow."""

    since: datetime | None = None
    rounds: int = 0
    refused_for: float = 0.0  # seconds parked on refusals
    pending_for: float = 0.0
    escalated: bool = False


@dataclass(frozen=True)
class ContinuedState:
    """What a parked run hands to the next one; histories hold these names. The step ledger remembers the rest.

    `code`: set when it was rolling back; `decided_by` is then the cancel that asked for it. `acts`: not answered
    or not on record; the audit remembers the others. `held`: wait for a second person.
    """

    stage: str
    patience: dict[str, RetryState]
    undos: list[str]  # the steps still to be undone, of one that is rolled back
    skipped: list[str]
    acts: list[Intent]
    held: list[Intent]
    code: str = ""
    decided_by: Intent | None = None
    refunded: bool = False
    past_pivot: bool = False


class RollBack(Exception):
    """Raised when the saga goes no further and is rolled back, for this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StatusReporter(Protocol):
    """Shows people the state of the saga."""

    def entered(self, stage: str) -> None: ...
    def done(self, stage: str) -> None: ...
    def parked(
        self, stage: str, failure: Failure, since: datetime, next_try: datetime | None, gives_up: datetime | None = None
    ) -> None: ...
    def held(self, acts: dict[str, Intent]) -> None: ...
    def note(self, text: str) -> None: ...


async def uncancellable(coro: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine to its end whatever cancels arrive (one `shield` would lose all but the undo in flight)."""
    task = asyncio.create_task(coro)
    while not task.done():
        try:
            await workflow.wait([task])
        except asyncio.CancelledError:
            continue
    return task.result()


def ended_by(code: str, message: str) -> ApplicationError:
    """Return the failure that a run ends with: its type is the code; it is benign, so nobody is paged."""
    return ApplicationError(message, type=code, non_retryable=True, category=ApplicationErrorCategory.BENIGN)


ActivityCall = tuple[Callable[[Any, Any], Any], Any]  # an activity and its argument


class SagaHooks(Protocol):
    """The activities of a saga beside its steps: notify others, store what operators decide, record their acts."""

    def needs_attention(self, failure: Failure) -> ActivityCall: ...
    def escalated(self, failure: Failure) -> ActivityCall: ...
    def decide(self, intent: Intent) -> ActivityCall: ...  # its result: what the same act was answered before, or None
    async def decided(self, intent: Intent) -> None: ...
    def record(self, intent: Intent) -> ActivityCall: ...
    def needs_two(self, intent: Intent) -> bool: ...
