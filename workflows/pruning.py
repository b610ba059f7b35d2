"""PruneWorkflow: once a day, delete what is kept for a limited time."""

from __future__ import annotations

from collections import Counter

from temporalio import workflow

from workflows.policies import PRUNE_TRIES, PRUNE_TRY

with workflow.unsafe.imports_passed_through():
    from activities.pruning import PruningActivities


@workflow.defn(name="PruneWorkflow")
class PruneWorkflow:
    """Calls the activity until nothing is left to delete; a schedule runs it again and again."""

    @workflow.run
    async def run(self) -> dict[str, int]:
        """How many rows of each kind went, of this run."""
        gone: Counter[str] = Counter()
        while any((now := await self._prune()).values()):
            gone.update(now)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new()
        return dict(gone)

    async def _prune(self) -> dict[str, int]:
        return await workflow.execute_activity_method(
            PruningActivities.prune, start_to_close_timeout=PRUNE_TRY, retry_policy=PRUNE_TRIES
        )
