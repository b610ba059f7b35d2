"""The one loop that waits: it tries a step, an undo or a record until done, with pauses and escalation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.policies import MIN_PAUSE
from workflows.saga_state import SagaState
from workflows.saga_types import Failure, Kind, RetryState, RollBack

A = TypeVar("A")
R = TypeVar("R")


class UntilDone(SagaState[A], ABC):
    """A saga that waits. `workflows/operator_requests.py` handles the messages that come meanwhile."""

    @abstractmethod
    async def raise_if_cancelled(self) -> None:
        """Look for cancels; raise RollBack once one is stored."""

    @abstractmethod
    async def answer(self, text: str) -> None:
        """Answer the requests of this try, and put them on record."""

    @abstractmethod
    async def take_requests(self) -> None:
        """Store what operators decided meanwhile; it belongs to the next try."""

    @property
    @abstractmethod
    def temporal_cancel_waits(self) -> bool:
        """Whether Temporal's own cancel has come and was not yet looked at."""

    async def retry(
        self,
        name: str,
        attempt: Callable[[], Coroutine[None, None, R]],
        judge: Callable[[FailureError], Failure],
        *,
        ends: Callable[[Failure], bool] = lambda failure: False,
        kind: Kind | None = None,
        answers: bool = True,
    ) -> R | Failure:
        """Try until it is done; return its result, or the failure that `ends` it.

        Raises RollBack for a cancel or a deadline.

        With `answers`, the requests that come belong to the next try; without, they only make it come sooner.
        """
        state = self.retries.setdefault(name, RetryState())
        while True:
            seen = self.inbox.arrivals
            try:
                result = await attempt()
            except FailureError as err:
                failure = judge(err)
            else:
                self.retries.pop(name, None)
                return result
            await self.raise_if_cancelled()
            if answers:
                self.failure = failure
                await self.answer(self._failed_again(failure))
            if ends(failure):
                self.retries.pop(name, None)
                return failure
            await self._park(name, failure, state, kind, seen, answers)

    async def until_done(self, activity: Callable[[Any, Any], Any], arg: Any) -> None:
        """Execute an activity that must happen before the run ends: tried for ever, shown when it is stuck."""
        await self.retry(
            activity.__name__, lambda: self.execute(activity, arg), lambda err: self.judge(err, None, False)
        )

    async def _park(
        self, name: str, failure: Failure, state: RetryState, kind: Kind | None, seen: int, answers: bool
    ) -> None:
        """Wait for the timer, a message or a cancel; raise RollBack at the deadline.

        Only refusals of steps have one.
        """
        state.since = state.since or workflow.now()
        pause, limit, spent = self._terms(failure, state, kind)
        left = limit - spent if limit else None
        if left is not None and left <= 0:
            raise RollBack(failure.expires_as or failure.code, failure.message)
        await self.continue_before_history_fills()
        now = workflow.now()
        tries = pause if pause and (left is None or pause <= left) else None
        self.status.parked(
            name if answers else self.stage,
            failure,
            state.since,
            next_try=now + timedelta(seconds=tries) if tries else None,
            gives_up=now + timedelta(seconds=left) if left else None,
        )
        await self._notify_once(failure)
        began = workflow.now()
        await self._sleep_or_message(name, failure, state, tries or left, seen, answers)
        waited = (workflow.now() - began).total_seconds()
        if failure.waits:
            state.pending_for += waited
        elif failure.refusal:
            state.refused_for += waited
        await self.raise_if_cancelled()
        if answers:
            await self.take_requests()

    def _terms(self, failure: Failure, state: RetryState, kind: Kind | None) -> tuple[float, float, float]:
        """Return the seconds to the next try (0: none), the deadline in seconds (0: none), and what is spent of it."""
        if failure.waits:
            return self.rules.pending_pause, self.rules.pending_deadline, state.pending_for
        if failure.refusal and kind:
            limit = self.rules.gate_deadline if kind is Kind.GATE else self.rules.repair_deadline
            return (self.rules.heal_pause if failure.heals else 0), limit, state.refused_for
        state.rounds += 1
        return self.rules.trouble_pause_of(state.rounds - 1), 0, 0

    async def _notify_once(self, failure: Failure) -> None:
        """Announce once per code that somebody is needed; if that fails, again when it parks again."""
        if failure.waits or failure.code in self.notified:
            return
        if await self.try_notify(*self.hooks.needs_attention(failure)):
            self.notified.add(failure.code)

    async def _sleep_or_message(
        self, name: str, failure: Failure, state: RetryState, pause: float | None, seen: int, answers: bool
    ) -> None:
        """Sleep until the timer or a message; on the way escalate, once, if somebody has been needed for too long."""
        summary = f"{name}: {failure.code}"
        if failure.waits or state.escalated or not self.rules.escalate_after or not state.since:
            await self._message_within(pause, summary, seen, answers)
            return
        due = (state.since - workflow.now()).total_seconds() + self.rules.escalate_after
        if pause and pause <= due:
            await self._message_within(pause, summary, seen, answers)
            return
        if due > 0 and await self._message_within(due, f"{summary}: escalates", seen, answers):
            return
        state.escalated = await self.try_notify(*self.hooks.escalated(failure))
        if state.escalated:
            workflow.logger.warning("attention_escalated", extra={"step": name, "code": failure.code})
            workflow.metric_meter().create_counter("coursaga_attention_escalated").add(1, {"code": failure.code})
        rest = max(pause - max(due, 0), MIN_PAUSE) if pause else None
        if not state.escalated:  # told when it parks again, which shall not depend on a message
            rest = min(rest or self.rules.trouble_pause_most, self.rules.trouble_pause_most)
        await self._message_within(rest, summary, seen, answers)

    async def _message_within(self, pause: float | None, summary: str, seen: int, answers: bool) -> bool:
        """Wait so many seconds (None: for ever); return whether something came since `seen` before they were over."""

        def came() -> bool:
            waiting = answers and bool(self.inbox.waiting)
            return self.inbox.arrivals > seen or self.temporal_cancel_waits or waiting

        timeout = timedelta(seconds=pause) if pause else None
        try:
            await workflow.wait_condition(came, timeout=timeout, timeout_summary=summary)
        except TimeoutError:
            return False
        return True

    def _failed_again(self, failure: Failure) -> str:
        if self.undoing:
            return f"rolling back; stuck: {', '.join(step.name for step in reversed(self.undos))}"
        return f"tried again, and refused again: {failure.code}"
