"""Change lessons after they were made: one change that an admin asked for, and the sweep for days closed later.

Both are apart from the purchase's own workflow, which has long ended when lessons are rescheduled.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows.policies import A_FEW_TRIES, LESSON_TRY, UNTIL_DONE

with workflow.unsafe.imports_passed_through():
    from activities.closed_days import StrandedActivities
    from activities.lesson_changes import LessonChangeActivities
    from domain.lesson_changes import LessonChange


@workflow.defn(name="LessonChangeWorkflow")
class LessonChangeWorkflow:
    """Makes one change of lessons, tried until it is done or refused; its result is the outcome in words."""

    @workflow.run
    async def run(self, change: LessonChange) -> str:
        """`done: ...` or `refused: CODE: ...`, as the audit has it."""
        outcome = await workflow.execute_activity_method(
            LessonChangeActivities.change_lessons,
            change,
            start_to_close_timeout=LESSON_TRY,
            retry_policy=UNTIL_DONE,
            summary=f"{change.verb} for {change.actor}",
        )
        workflow.set_current_details(f"{change.verb}, asked for by {change.actor}: {outcome}")
        return outcome


@workflow.defn(name="LessonSweepWorkflow")
class LessonSweepWorkflow:
    """Moves lessons off days closed later, one purchase after the other; a schedule runs it again and again."""

    @workflow.run
    async def run(self, after: str = "") -> int:
        """How many purchases were looked at. `after`: the last id of the run that this one goes on from."""
        looked = 0
        while page := await self._page(after):
            for purchase_id in page:
                await self._move(purchase_id)
            looked += len(page)
            after = page[-1]
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(after)
        return looked

    async def _page(self, after: str) -> list[str]:
        return await workflow.execute_activity_method(
            StrandedActivities.find_stranded_lessons,
            after,
            start_to_close_timeout=LESSON_TRY,
            retry_policy=UNTIL_DONE,
            summary="lessons to come on a day closed later",
        )

    async def _move(self, purchase_id: str) -> None:
        try:
            await workflow.execute_activity_method(
                StrandedActivities.move_stranded_lessons,
                purchase_id,
                start_to_close_timeout=LESSON_TRY,
                retry_policy=A_FEW_TRIES,
                summary=purchase_id,
            )
        except ActivityError as trouble:  # of this purchase alone: the others are moved, the next sweep comes back
            workflow.logger.warning(
                "lessons stay on a closed day", extra={"purchase_id": purchase_id}, exc_info=trouble
            )
