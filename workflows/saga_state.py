"""The state of a saga, and the part of it that goes on in a new run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.inbox import Inbox, Intent, View
from workflows.policies import MAX_EVENTS, Rules
from workflows.saga_types import ContinuedState, Failure, RetryState, SagaHooks, StatusReporter, Step

A = TypeVar("A")
R = TypeVar("R")


class Phase(StrEnum):
    """The phase that a saga is in. The values of the last two are shown to people."""

    FORWARD = "forward"
    PAST_PIVOT = "past the pivot"  # nothing is undone any more
    ROLLING_BACK = "rolling back"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled back"


@dataclass
class SagaState(Generic[A]):
    """The whole state of a saga. Its steps take the same argument `order`; `rules` are the numbers in force.

    `judge` returns why a step failed (True: it was the step's undo); `continue_as_new` goes on in a new run and does
    not return.
    """

    order: A
    rules: Rules
    status: StatusReporter
    judge: Callable[[FailureError, Step[Any, Any] | None, bool], Failure]
    continue_as_new: Callable[[ContinuedState], None]
    hooks: SagaHooks
    continued: ContinuedState | None = None
    undos: list[Step[A, Any]] = field(default_factory=list[Step[A, Any]])  # owed
    inbox: Inbox = field(default_factory=Inbox)
    retries: dict[str, RetryState] = field(default_factory=dict[str, RetryState])  # of what is being waited for
    skipped: list[str] = field(default_factory=list[str])
    notified: set[str] = field(default_factory=set[str])
    stage: str = ""
    phase: Phase = Phase.FORWARD
    failure: Failure | None = None  # what it waits for, while it is parked
    refunded: bool = False  # the rollback gave money back
    catching_up: bool = False  # repeating what an earlier run had done
    storing_cancel: bool = False
    temporal_cancel_seen: bool = False  # Temporal's own cancel has been made a request
    ending: str = ""  # the code it is rolled back for
    decided_by: Intent | None = None  # the cancel it is rolled back for

    def __post_init__(self) -> None:
        if before := self.continued:
            self.inbox = Inbox.of(before.acts, before.held)
            self.retries = dict(before.patience)
            self.skipped = list(before.skipped)
            self.refunded, self.decided_by = before.refunded, before.decided_by
            self.phase = Phase.PAST_PIVOT if before.past_pivot else Phase.FORWARD
            self.catching_up = True

    @property
    def closed(self) -> bool:
        """Whether the saga is over: no step and no undo follows."""
        return self.phase in (Phase.COMPLETED, Phase.ROLLED_BACK)

    @property
    def undoing(self) -> bool:
        """Whether the saga is being rolled back, or was."""
        return self.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK)

    @property
    def view(self) -> View:
        """The stage and the code that the saga is parked for, for the record of an act."""
        stage = self.phase.value if self.closed else self.stage
        return {"stage": stage, "code": self.failure.code if self.failure else None}

    def at(self, step: str) -> bool:
        """Return whether the saga is at this step, on its way forward."""
        return self.stage == step and not self.undoing

    def parked_at(self, step: str) -> bool:
        """Return whether the saga is parked at this step."""
        return self.failure is not None and self.at(step)

    def undo_stuck_on(self, *codes: str) -> bool:
        """Return whether an undo is stuck for one of these codes."""
        return self.undoing and self.failure is not None and self.failure.code in codes

    def enter(self, stage: str) -> None:
        """Go to this stage. People are shown what an earlier run was parked at until this run reaches it again."""
        self.stage = stage
        self.catching_up = self.catching_up and bool(self.continued) and self.continued.stage != stage
        if not self.catching_up:
            self.status.entered(stage)

    async def execute_step(self, activity: Callable[[Any, Any], R], arg: Any) -> R:
        """Execute the do of a step with the quick tries; raises FailureError when they are used up or it refuses.

        In the local lane it runs within the workflow task, and leaves one marker there. What fails so becomes an activity
        that people see, for the last of the tries: it decides.
        """
        if not self.rules.local:
            return await self.execute(activity, arg)
        with suppress(FailureError):
            return await workflow.execute_local_activity_method(
                activity,
                arg,
                schedule_to_close_timeout=timedelta(seconds=self.rules.local_attempts),
                retry_policy=self.rules.locally(),
            )
        return await self.execute(activity, arg, tries=1)

    async def execute(self, activity: Callable[[Any, Any], R], arg: Any, tries: int = 0) -> R:
        """Execute an activity that people see, with so many tries (0: the quick tries); raises FailureError.

        Undos are executed so, as money is asked for by one try at a time. And what follows a message: the answer to an
        Update is lost with a workflow task that would close the run while another message comes.
        """
        return await workflow.execute_activity_method(
            activity,
            arg,
            start_to_close_timeout=timedelta(seconds=self.rules.attempt),
            retry_policy=self.rules.quick(tries),
            summary=_promise(activity),
        )

    async def try_notify(self, activity: Callable[[Any, Any], Any], arg: Any) -> bool:
        """Execute an activity that may fail; return whether it succeeded."""
        try:
            await self.execute(activity, arg)
        except FailureError:
            return False
        return True

    async def continue_before_history_fills(self) -> None:
        """Go on in a new run once the server suggests it, as it would terminate this one.

        Done before a pause, so little is lost.
        """
        info = workflow.info()
        if not info.is_continue_as_new_suggested():
            return
        if self.inbox.waiting and info.get_current_history_length() < MAX_EVENTS:
            return  # they are taken up at once, and answered before
        self.inbox.leaving = True  # whoever waits for an answer asks the new run
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.continue_as_new(
            ContinuedState(
                stage=self.stage,
                patience=self.retries,
                undos=[step.name for step in self.undos],
                skipped=self.skipped,
                acts=self.inbox.open_acts,
                held=list(self.inbox.held.values()),
                code=self.ending,
                decided_by=self.decided_by,
                refunded=self.refunded,
                past_pivot=self.phase in (Phase.PAST_PIVOT, Phase.COMPLETED),
            )
        )


def _promise(activity: Callable[..., Any]) -> str:
    """Return an activity's summary for Temporal UI: the first line of its docstring, without its source."""
    text = (activity.__doc__ or activity.__name__).strip()
    return text.splitlines()[0].partition(" (")[0].rstrip(".:;")[:200]
