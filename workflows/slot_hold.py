"""SlotHoldWorkflow: a durable timer, after which the times of a slot hold are free again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.slot_holds import HoldActivities
    from workflows.policies import Rules


@dataclass(frozen=True)
class HoldInput:
    """Input of SlotHoldWorkflow. `seconds`: how long the times are held."""

    hold_id: str
    seconds: float
    rules: Rules


@workflow.defn(name="SlotHoldWorkflow")
class SlotHoldWorkflow:
    """Releases a hold when its time is over. It gets no message meanwhile: a hold that has ended by then is left
    alone, and whoever looks for a trainer does not wait for this timer."""

    @workflow.run
    async def run(self, start: HoldInput) -> bool:
        await workflow.sleep(timedelta(seconds=start.seconds), summary="the times are held")
        return await workflow.execute_activity_method(
            HoldActivities.release_hold,
            start.hold_id,
            start_to_close_timeout=timedelta(seconds=start.rules.attempt),
            retry_policy=start.rules.letting_go(),
            summary="the times are free again",
        )
