"""ExpiryWorkflow: end the access of one purchase when its last day is over, however far away that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.access import AccessActivities
    from domain.access import AccessLook, Extension
    from domain.ids import expiry_id_of
    from domain.purchase import PurchaseOrder
    from workflows.attributes import STUDENT_ID
    from workflows.messages import Extend, check, refuse
    from workflows.policies import MAX_RACES, MAX_SLEEP, MIN_SLEEP, Rules


@dataclass(frozen=True)
class ExpiryInput:
    """Input of ExpiryWorkflow: the purchase whose access ends, and the timeouts and pauses for its activities."""

    order: PurchaseOrder
    rules: Rules


@dataclass
class _PendingExtension:
    """An extension that was asked for; `answer` is None until the main loop has answered it."""

    act: Extend
    answer: str | None = None


@workflow.defn(name="ExpiryWorkflow")
class ExpiryWorkflow:
    """Sleeps until the last day of access is over, then ends the access; an admin may extend it, also afterwards.

    It may run any number of times for a purchase: the database makes sure that each effect happens once.
    """

    @workflow.init
    def __init__(self, start: ExpiryInput) -> None:
        self._start = start
        self._asked: dict[str, _PendingExtension] = {}
        self._look_again = False

    @workflow.run
    async def run(self, start: ExpiryInput) -> str:
        while True:
            await self._answer_all()
            look = await self._do(AccessActivities.end_access, start.order)
            if look.state == "waits" and not workflow.info().is_continue_as_new_suggested():
                await self._sleep(look)
                continue
            await workflow.wait_condition(lambda: self._disturbed or workflow.all_handlers_finished())
            if self._disturbed:
                continue
            if look.state != "waits":
                workflow.set_current_details(f"Access: **{look.state}** (last day {look.last_day or 'none'}).")
                return look.state
            workflow.continue_as_new(start)

    @workflow.update(description="Give access until another day (expiry_date, YYYY-MM-DD), also after it has ended.")
    async def extend(self, act: Extend) -> str:
        mine = self._asked.setdefault(act.request_key, _PendingExtension(act))
        await workflow.wait_condition(lambda: mine.answer is not None)
        return mine.answer or ""

    @extend.validator
    def _check_extend(self, act: Extend) -> None:
        check("extend", act)
        first = self._asked.get(act.request_key)
        if first and first.act.values != act.values:
            raise refuse("KEY_REUSED", f"under this request_key access until {first.act.expiry_date} was asked for")

    @workflow.signal(description="The last day was changed elsewhere: look at the purchase again. Needs no input.")
    def look_again(self, *_said: Any) -> None:
        """Never raises, whatever comes with it."""
        self._look_again = True

    @property
    def _disturbed(self) -> bool:
        return self._look_again or any(asked.answer is None for asked in self._asked.values())

    async def _answer_all(self) -> None:
        self._look_again = False
        for key, asked in list(self._asked.items()):
            if asked.answer is None:
                act, order = asked.act, self._start.order
                wanted = Extension(order, key, act.actor, act.reason, act.expiry_date)
                asked.answer = await self._do(AccessActivities.extend_access, wanted)

    async def _sleep(self, look: AccessLook) -> None:
        workflow.set_current_details(f"Access lasts until **{look.last_day}**, that day included.")
        # Not for ever: a purchase that was taken back needs no timer, a student who moved has another midnight.
        pause = min(max(timedelta(seconds=look.seconds), MIN_SLEEP), MAX_SLEEP)
        try:
            await workflow.wait_condition(
                lambda: self._disturbed, timeout=pause, timeout_summary=f"access until {look.last_day}"
            )
        except TimeoutError:
            return

    async def _do(self, do: Any, arg: Any) -> Any:
        """Execute an activity and retry it for ever, with growing pauses: there is nobody else to do it."""
        rules = self._start.rules
        return await workflow.execute_activity_method(
            do,
            arg,
            start_to_close_timeout=timedelta(seconds=rules.attempt),
            retry_policy=rules.until_done(),
        )


async def watch_expiry(order: PurchaseOrder, rules: Rules, *, look_again: bool = False) -> None:
    """Start the workflow that ends the purchase's access; it outlives the purchase's own, and may exist already.

    `look_again`: the last day was changed, so one that exists is signalled to read it. Raises nothing that would
    undo the purchase: without a timer the access still ends for whoever reads it.
    """
    for _ in range(MAX_RACES):
        if await _started(order, rules) or not look_again or await _told(order):
            return


async def _started(order: PurchaseOrder, rules: Rules) -> bool:
    """Start the workflow; return False if one exists already. Any other failure is only logged."""
    try:
        await workflow.start_child_workflow(
            ExpiryWorkflow.run,
            ExpiryInput(order, rules),
            id=expiry_id_of(order.purchase_id),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=about(order),
            static_summary=summary(order),
        )
    except WorkflowAlreadyStartedError:
        return False
    except FailureError as err:
        workflow.logger.warning("expiry_not_started", extra={"purchase_id": order.purchase_id, "error": str(err)})
    return True


async def _told(order: PurchaseOrder) -> bool:
    """Signal the existing workflow to look again; return False if it ended at this very moment."""
    there = workflow.get_external_workflow_handle_for(ExpiryWorkflow.run, expiry_id_of(order.purchase_id))
    try:
        await there.signal(ExpiryWorkflow.look_again)
    except FailureError:
        return False
    return True


def about(order: PurchaseOrder) -> TypedSearchAttributes:
    """Return the search attributes by which lists find the workflow."""
    return TypedSearchAttributes([SearchAttributePair(STUDENT_ID, order.student_id)])


def summary(order: PurchaseOrder) -> str:
    """Return the one-line summary of the workflow for Temporal UI."""
    return f"access of {order.workflow_id}"[:130]
