"""The stage of runs: lists know it where a run parks, rolls back or ends; else the ledger does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from application.context import Services
from application.run_states import RunState
from application.temporal_client import Condition, one_of
from db.reads.stages import ledger_stages
from workflows.attributes import PURCHASE_STAGE, RUNNING


def may_be_at(stage: str) -> Condition:
    """Return the condition of all runs that may be at this stage; of those found, `placed` tells which are."""
    return one_of(PURCHASE_STAGE.name, (stage, RUNNING))


async def placed(services: Services, runs: Mapping[str, RunState]) -> dict[str, RunState]:
    """Return the runs by workflow id, those that go from step to step with the step that they are at."""
    moving = [name for name, run in runs.items() if run.stage == RUNNING]
    if not moving:
        return dict(runs)
    async with services.reading() as conn:
        stages = await ledger_stages(conn, moving)
    return {name: replace(run, stage=stages[name]) if name in stages else run for name, run in runs.items()}
