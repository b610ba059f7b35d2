"""PurchaseWorkflow: one purchase, from a payment to lessons or test cards, as a sequence of steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow

# The sandbox loads this file anew for each run; all else is shared, or the table and the engine would not agree
# on what a step is (and each run would pay for SQLAlchemy).
with workflow.unsafe.imports_passed_through():
    from activities.purchase import PurchaseActivities
    from domain.purchase import Announcement, PurchaseOrder
    from domain.texts import storable
    from workflows.expiry import watch_expiry
    from workflows.failures import judge
    from workflows.inbox import Intent
    from workflows.messages import (
        Act,
        Amend,
        AssignTrainer,
        Cancel,
        CreateSessions,
        SettleRefund,
        SkipStep,
        act_of_signal,
        check,
        refuse,
    )
    from workflows.notifications import PurchaseHooks
    from workflows.policies import Rules
    from workflows.saga import Saga
    from workflows.saga_types import RUN_ENDS, ContinuedState, uncancellable
    from workflows.steps import (
        APPROVE_ALLOCATION,
        ASSIGN_TRAINER,
        CLEAR_CART,
        CONFIRM_PAYMENT,
        CREATE_PURCHASE,
        CREATE_SESSIONS,
        ENROLL,
        ISSUE_TEST_CARDS,
        REDEEM_COINS,
        TABLE,
    )
    from workflows.visibility import Progress, PurchaseStatus


@dataclass(frozen=True)
class PurchaseInput:
    """What a door starts a purchase with: ids, and the rules in force. `resumed` is set only in a continued run."""

    order: PurchaseOrder
    rules: Rules
    resumed: ContinuedState | None = None
    amount_minor: int | None = None  # what the line costs, once that is known


@workflow.defn(name="PurchaseWorkflow")
class PurchaseWorkflow:
    """Carries one payment line to "the student has what they paid for", or makes the student whole."""

    @workflow.init
    def __init__(self, start: PurchaseInput) -> None:
        self._start = start
        self._status = PurchaseStatus(start.order.workflow_id, carried=start.resumed is not None)
        costs = start.amount_minor if start.order.payment_id else 0
        self._hooks = PurchaseHooks(start.order, start.rules, costs)
        self._saga: Saga[PurchaseOrder] = Saga(
            order=start.order,
            rules=start.rules,
            status=self._status,
            judge=judge,
            continue_as_new=self._continue_as_new,
            hooks=self._hooks,
            continued=start.resumed,
        )

    @workflow.run
    async def run(self, start: PurchaseInput) -> str:
        return await uncancellable(self._run())  # a cancel is an act, heeded by the saga

    async def _run(self) -> str:
        saga = self._saga
        try:
            await saga.execute_saga(self._fulfil(saga), TABLE)
        except RUN_ENDS:
            await self._made_whole()
            raise
        await saga.close()
        return "completed"

    async def _fulfil(self, saga: Saga[PurchaseOrder]) -> None:
        if confirmed := await saga.run(CONFIRM_PAYMENT):
            self._hooks.amount_minor = confirmed.amount_minor
        purchase = await saga.run(CREATE_PURCHASE)
        self._status.has(purchase, confirmed)
        self._hooks.exists = purchase is not None
        if purchase and purchase.coins:  # most lines cost none: they are spared the step
            await saga.run(REDEEM_COINS)
        if purchase and purchase.expires:
            await watch_expiry(self._start.order, self._start.rules)
        if purchase and purchase.fulfilment != "ownership":
            await saga.run(ENROLL)
            if purchase.fulfilment == "test_cards":
                await saga.run(ISSUE_TEST_CARDS)
            elif assigned := await saga.run(ASSIGN_TRAINER):
                self._status.held_by(assigned.trainer_id)
                if assigned.approved:  # with the hold
                    self._status.done(APPROVE_ALLOCATION.name)
                else:
                    await saga.run(APPROVE_ALLOCATION)
                await saga.run(CREATE_SESSIONS)
        await saga.run(CLEAR_CART)

    async def _made_whole(self) -> None:
        ending = "cancelled" if self._saga.ending == "CANCELLED" else "refused"
        event = "PURCHASE_REFUNDED" if self._saga.refunded else ""
        news = Announcement(self._start.order, event, ending, self._saga.ending, skipped=self._saga.skipped)
        await self._saga.until_done(PurchaseActivities.announce, news)
        await self._saga.close()

    def _continue_as_new(self, state: ContinuedState) -> None:
        workflow.continue_as_new(replace(self._start, resumed=state, amount_minor=self._hooks.amount_minor))

    # -- messages: validators refuse, handlers post, the main loop acts ------------------------------------------

    @workflow.update(description="Try the parked step (or stuck undo) again now, instead of at its next time.")
    async def retry_now(self, act: Act) -> str:
        return await self._saga.ask(self._intent("retry_now", act))

    @retry_now.validator
    def _check_retry_now(self, act: Act) -> None:
        self._check("retry_now", act)

    @workflow.update(description="Change metadata or the item of a parked purchase, then try again.")
    async def amend(self, act: Amend) -> str:
        return await self._saga.ask(self._intent("amend", act, stores=True))

    @amend.validator
    def _check_amend(self, act: Amend) -> None:
        parked = self._saga.failure is not None and not self._saga.undoing
        self._check("amend", act, parked, "it is not parked at a step")

    @workflow.update(description="Go on without the repair step it is parked at; a skipped trainer skips the lessons.")
    async def skip_step(self, act: SkipStep) -> str:
        return await self._saga.ask(self._intent("skip_step", act, stores=True, skip=act.step))

    @skip_step.validator
    def _check_skip_step(self, act: SkipStep) -> None:
        self._check("skip_step", act, self._saga.parked_at(act.step), f"it is not parked at {act.step or 'that step'}")

    @workflow.update(description="Give this trainer all the lessons, if free; for a purchase parked without one.")
    async def assign_trainer(self, act: AssignTrainer) -> str:
        return await self._saga.ask(self._intent("assign_trainer", act, stores=True))

    @assign_trainer.validator
    def _check_assign_trainer(self, act: AssignTrainer) -> None:
        self._check("assign_trainer", act, self._saga.parked_at("assign_trainer"), "it is not parked for a trainer")

    @workflow.update(description="Say yes to the proposed trainer; the lessons follow at once.")
    async def approve_allocation(self, act: Act) -> str:
        return await self._saga.ask(self._intent("approve_allocation", act, stores=True))

    @approve_allocation.validator
    def _check_approve_allocation(self, act: Act) -> None:
        parked = self._saga.parked_at("approve_allocation") or self._saga.parked_at("create_sessions")
        self._check("approve_allocation", act, parked, "no allocation waits for a yes")

    @workflow.update(description="Create the missing lessons now, with another count or schedule if given.")
    async def create_sessions(self, act: CreateSessions) -> str:
        return await self._saga.ask(self._intent("create_sessions", act, stores=bool(act.overrides)))

    @create_sessions.validator
    def _check_create_sessions(self, act: CreateSessions) -> None:
        self._check("create_sessions", act, self._saga.at("create_sessions"), "it is not at its lessons")

    @workflow.signal(description="The same as create_sessions, for Temporal UI: needs no input, ignores bad input.")
    def create_sessions_manually(self, *asked: Any) -> None:
        """Takes what may come, and never raises: a failure here would stop the purchase for good. One object counts."""
        act, faults = act_of_signal(asked, str(workflow.uuid4()))
        intent = self._intent("create_sessions", act, stores=bool(act.overrides))
        if reused := self._saga.reused(intent):
            faults.append(reused)
        if not faults and len(asked) > 1:
            self._status.note("signal create_sessions_manually: of several inputs the first object counts")
        if (
            faults
            or self._saga.inbox.full
            or not (self._saga.at("create_sessions") or self._saga.inbox.known(act.request_key))
        ):
            self._status.note(f"signal create_sessions_manually ignored: {'; '.join(faults) or 'not at its lessons'}")
            return
        self._saga.request(intent)

    @workflow.signal(description="The system's: what it waits for may be mended, try again now. Leaves no act.")
    def wake(self, *because: Any) -> None:
        text = because[0] if because and isinstance(because[0], str) else "woken"
        self._saga.wake(storable(text, most=200))

    @workflow.update(description="Undo everything; money goes back full, undelivered or none. Not after clear_cart.")
    async def cancel(self, act: Cancel) -> str:
        return await self._saga.ask(self._intent("cancel", act, stores=True))

    @cancel.validator
    def _check_cancel(self, act: Cancel) -> None:
        self._check("cancel", act)

    @workflow.update(description="The stuck refund was given outside the provider: end the rollback. Two people.")
    async def settle_refund(self, act: SettleRefund) -> str:
        return await self._saga.ask(self._intent("settle_refund", act, stores=True))

    @settle_refund.validator
    def _check_settle_refund(self, act: SettleRefund) -> None:
        stuck = self._saga.undo_stuck_on("REFUND_FAILED", "REFUND_UNKNOWN")
        self._check("settle_refund", act, stuck, "no refund of it is stuck")

    @workflow.update(description="Take back an act that waits for a second person: request_key is that act's.")
    async def withdraw(self, act: Act) -> str:
        return self._saga.withdraw(act.request_key, act.actor, act.reason)

    @withdraw.validator
    def _check_withdraw(self, act: Act) -> None:
        check("withdraw", act)
        if why := self._saga.not_withdrawn(act.request_key):
            raise refuse("WRONG_STAGE", why)

    @workflow.query(description="Stage, steps done, what it waits for and what to do.")
    def progress(self) -> Progress:
        return self._status.progress()

    def _intent(self, verb: str, act: Act, *, stores: bool = False, skip: str = "") -> Intent:
        return Intent(act.request_key, verb, act.actor, act.reason, act.values, stores, skip)

    def _check(self, verb: str, act: Act, fits: bool = True, why_not: str = "") -> None:
        check(verb, act)
        saga, intent = self._saga, self._intent(verb, act)
        if reused := saga.reused(intent):
            raise refuse("KEY_REUSED", reused)
        if saga.inbox.known(act.request_key):  # a repeat gets its first answer
            return
        if not fits:
            raise refuse("WRONG_STAGE", f"{verb} makes no sense now: {why_not} (stage: {saga.stage})")
        if saga.crowded(intent):
            raise refuse("WRONG_STAGE", "too many acts wait for this purchase: withdraw one, or wait for their answers")
