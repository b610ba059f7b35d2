"""The saga engine: run steps, undo them in reverse. It knows steps and requests, and no business term.

Its rules: an undo is owed before its step runs; a failure that the table does not know is trouble and never
undoes anything; all waiting is done by `workflows/until_done.py`, which notifies people, escalates, and goes on
in a new run before the history fills; a rollback skips a stuck undo only to come back to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError, FailureError

from workflows.operator_requests import OperatorRequests
from workflows.saga_state import Phase
from workflows.saga_types import RUN_ENDS, Failure, RollBack, Step, ended_by

A = TypeVar("A")
R = TypeVar("R")


class Saga(OperatorRequests[A]):
    """Runs steps over the same argument, in the order that the workflow writes down as a coroutine."""

    async def execute_saga(self, steps: Coroutine[Any, Any, None], table: tuple[Step[A, Any], ...]) -> None:
        """Run the steps; if they end early, undo all and raise the failure the run ends with. A bug undoes nothing."""
        try:
            if self.continued:
                # All of them, at once: a cancel may come before the steps have got to where they were.
                self.undos = [step for step in table if step.name in self.continued.undos]
                if self.continued.code:
                    steps.close()
                    raise RollBack(self.continued.code, "made whole")
            await steps
        except (RollBack, *RUN_ENDS) as err:
            self.ending = err.code if isinstance(err, RollBack) else _code_of(err)
            self.phase = Phase.ROLLING_BACK
            self.drop_held(f"it is being undone already ({self.ending})")
            await self._roll_back()
            if self.decided_by_temporal:
                raise asyncio.CancelledError from err  # Temporal's own cancel ends the run as Temporal says
            raise ended_by(self.ending, str(err)) from err.__cause__

    async def run(self, step: Step[A, R]) -> R | None:
        """Do the step, parking as often and as long as it takes; return its result, None if skipped.

        Raises RollBack.
        """
        self.enter(step.name)
        if step.undo and step not in self.undos:
            self.undos.append(step)  # before anything else: even a cancel before the first step finds its undo
        await self.raise_if_cancelled()

        async def attempt() -> R | None:
            return None if step.name in self.skipped else await self.execute(step.do, self.order)

        result = await self.retry(
            step.name,
            attempt,
            lambda err: self.judge(err, step, False),
            ends=lambda failure: failure.ends,
            kind=step.kind,
        )
        if isinstance(result, Failure):
            raise RollBack(result.code, result.message)
        if step.name in self.skipped:
            self.failure = None
            await self.answer("skipped")
            return None
        await self._did(step)
        return result

    async def best_effort(self, step: Step[A, R]) -> None:
        """Try a step on the way; note a failure and go on. Raises RollBack for a cancel."""
        await self.raise_if_cancelled()
        await self._attempt_once(step)
        await self.raise_if_cancelled()

    async def pivot(self, step: Step[A, R]) -> None:
        """Pass the point of no return, then try the step: from here on nothing is undone, and a cancel is too late."""
        await self.raise_if_cancelled()
        self.phase = Phase.PAST_PIVOT
        self.enter(step.name)
        if await self._attempt_once(step):
            self.status.done(step.name)

    async def close(self) -> None:
        """End the saga, completed or rolled back: answer everybody, put all acts on record, let handlers finish."""
        self.phase = Phase.ROLLED_BACK if self.undoing else Phase.COMPLETED
        self.failure = None
        self.status.entered(self.phase.value)
        await self.drain()

    async def _did(self, step: Step[A, Any]) -> None:
        before, self.failure = self.view, None
        if not self.catching_up:
            self.status.done(step.name)
        await self.answer("done")
        if not self.catching_up:  # while the ledger gives first results back, a message is for the parked step
            self.inbox.take()
            await self.answer("not needed: it succeeded meanwhile")
            await self.record_waking(before)
        await self.raise_if_cancelled()

    async def _attempt_once(self, step: Step[A, Any]) -> bool:
        try:
            await self.execute(step.do, self.order)
        except FailureError as err:
            self.status.gave_up(step.name, self.judge(err, step, False))
            return False
        return True

    async def _roll_back(self) -> None:
        """Undo in reverse; a stuck undo is left aside and tried again for ever, while the others go on."""
        self.enter("rolling_back")
        failed: dict[FailureError, Step[A, Any]] = {}

        async def attempt() -> None:
            failed.clear()
            for step in self.undos[::-1]:
                assert step.undo is not None
                try:
                    result = await self.execute(step.undo, self.order)
                except FailureError as err:
                    failed[err] = step
                else:
                    self.undos.remove(step)
                    self.refunded = self.refunded or bool(getattr(result, "refunded", False))
            if failed:
                raise list(failed)[-1]  # the refund is told first: it is the last, and what the student waits for

        await self.retry("rolling_back", attempt, lambda err: self.judge(err, failed[err], True))
        self.failure = None


def _code_of(err: BaseException) -> str:
    return (isinstance(err, ApplicationError) and err.type) or "CANCELLED"
