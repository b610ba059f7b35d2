"""The saga engine: run steps, undo them in reverse. It knows steps and requests, and no business term.

Its rules: a failure that the table does not know is trouble and never undoes anything; all waiting is done by
`workflows/until_done.py`, which notifies people, escalates, and goes on in a new run before the history fills; a rollback
undoes the whole table in reverse, as a run cannot know what a try whose result was lost has done; it rules the pivot out
first, or finds that it was done and goes on to completed; it skips a stuck undo only to come back to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError, FailureError

from workflows.operator_requests import OperatorRequests
from workflows.saga_state import Phase
from workflows.saga_types import RUN_ENDS, Failure, Kind, RollBack, Step, ended_by

A = TypeVar("A")
R = TypeVar("R")


class Saga(OperatorRequests[A]):
    """Runs steps over the same argument, in the order that the workflow writes down as a coroutine."""

    async def execute_saga(self, steps: Coroutine[Any, Any, None], table: tuple[Step[A, Any], ...]) -> None:
        """Run the steps; if they end early, undo all and raise the failure the run ends with. A bug undoes nothing."""
        before = self.continued
        self.undos = [step for step in table if not (before and before.code) or step.name in before.undos]
        try:
            if before and before.code:
                steps.close()
                raise RollBack(before.code, "made whole")
            await steps
        except (RollBack, *RUN_ENDS) as err:
            self.ending = err.code if isinstance(err, RollBack) else _code_of(err)
            self.phase = Phase.ROLLING_BACK
            if await self._roll_back():
                self._found_completed()
                await self.until_done(next(step.do for step in table if step.kind is Kind.PIVOT), self.order)
                return
            if self.decided_by_temporal:
                raise asyncio.CancelledError from err  # Temporal's own cancel ends the run as Temporal says
            raise ended_by(self.ending, str(err)) from err.__cause__

    async def run(self, step: Step[A, R]) -> R | None:
        """Do the step, parking as often and as long as it takes; return its result, None if skipped.

        Raises RollBack.
        """
        self.enter(step.name)
        await self.raise_if_cancelled()

        async def attempt() -> R | None:
            return None if step.name in self.skipped else await self.execute_step(step.do, self.order)

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
        if step.kind is Kind.PIVOT:
            self.phase = Phase.PAST_PIVOT
        await self._did(step)
        return result

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

    async def _roll_back(self) -> bool:
        """Undo the whole table in reverse; return True, and undo nothing, if the pivot was done before.

        A stuck undo is left aside and tried again for ever, while the others go on; all wait for that of the pivot.
        """
        self.enter("rolling_back")
        failed: dict[FailureError, Step[A, Any]] = {}

        async def attempt() -> bool:
            failed.clear()
            for step in self.undos[::-1]:
                try:
                    result = await self.execute(step.undo, self.order)
                except FailureError as err:
                    failed[err] = step
                    if step.kind is Kind.PIVOT:
                        break
                    continue
                if getattr(result, "too_late", False):
                    return True
                if step.kind is Kind.PIVOT:
                    self.drop_held(f"it is being undone already ({self.ending})")
                self.undos.remove(step)
                self.refunded = self.refunded or bool(getattr(result, "refunded", False))
            if failed:
                raise list(failed)[-1]  # the refund is told first: it is the last, and what the student waits for
            return False

        passed = await self.retry("rolling_back", attempt, lambda err: self.judge(err, failed[err], True))
        self.failure = None
        return passed is True

    def _found_completed(self) -> None:
        """Go on as completed: an earlier try, whose result was lost, had done all steps before anybody cancelled."""
        self.phase, self.ending, self.undos, self.decided_by = Phase.PAST_PIVOT, "", [], None
        self.status.note("all its steps had been done before it was to be undone: nothing is undone")


def _code_of(err: BaseException) -> str:
    return (isinstance(err, ApplicationError) and err.type) or "CANCELLED"
