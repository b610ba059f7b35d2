"""PurchaseWorkflow: one purchase, from a payment to lessons or test cards, as a sentence of steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from temporalio import workflow

# The sandbox loads this file anew for each run; all else is shared, or the table and the engine would not agree
# on what a step is (and each run would pay for SQLAlchemy).
with workflow.unsafe.imports_passed_through():
    from activities.purchase import PurchaseActivities
    from domain.acts import Decision, check_values
    from domain.purchase import Announcement, PaymentConfirmed, PurchaseOrder
    from workflows.board import Progress, PurchaseBoard
    from workflows.desk import PurchaseDesk
    from workflows.expiry import watch_expiry
    from workflows.inbox import Intent
    from workflows.judging import judge
    from workflows.messages import Act, Amend, AssignTrainer, Cancel, CreateSessions, SkipStep, check, refuse
    from workflows.policies import Rules
    from workflows.saga import Saga
    from workflows.steps import (
        APPROVE_ALLOCATION,
        ASSIGN_TRAINER,
        CLEAR_CART,
        CONFIRM_PAYMENT,
        CREATE_PURCHASE,
        CREATE_SESSIONS,
        ENROLL,
        INVALIDATE_LEARNING_CACHE,
        ISSUE_TEST_CARDS,
        REDEEM_COINS,
        TABLE,
    )
    from workflows.story import STORY_ENDS, Resumed, uncancellable


@dataclass(frozen=True)
class PurchaseInput:
    """What a door starts a purchase with: ids, and the rules in force. `resumed` only when it goes on in a new run."""

    order: PurchaseOrder
    rules: Rules
    resumed: Resumed | None = None


@workflow.defn(name="PurchaseWorkflow")
class PurchaseWorkflow:
    """Carries one payment line to "the student has what they paid for", or makes the student whole."""

    @workflow.init
    def __init__(self, start: PurchaseInput) -> None:
        self._start = start
        self._board = PurchaseBoard(start.order.workflow_id)
        self._confirmed: PaymentConfirmed | None = None
        self._held: dict[str, Intent] = {}  # acts that wait for a second person, by key
        self._saga: Saga[PurchaseOrder] = Saga(
            order=start.order,
            rules=start.rules,
            board=self._board,
            judge=judge,
            renew=self._renew,
            desk=PurchaseDesk(start.order),
            resumed=start.resumed,
        )

    @workflow.run
    async def run(self, start: PurchaseInput) -> str:
        saga = self._saga
        try:
            await saga.tell(self._fulfil(saga), TABLE)
        except STORY_ENDS:
            await uncancellable(self._made_whole())
            raise
        await uncancellable(self._completed())
        return "completed"

    async def _fulfil(self, saga: Saga[PurchaseOrder]) -> None:
        self._paid(await saga.run(CONFIRM_PAYMENT))
        purchase = await saga.run(CREATE_PURCHASE)
        self._board.has(purchase, self._confirmed)
        await saga.mention(INVALIDATE_LEARNING_CACHE)
        if purchase and purchase.coins:  # most lines cost none: they are spared the step
            await saga.run(REDEEM_COINS)
        if purchase and purchase.expires:
            await watch_expiry(self._start.order, self._start.rules)
        if purchase and purchase.fulfilment != "ownership":
            await saga.run(ENROLL)
            if purchase.fulfilment == "test_cards":
                await saga.run(ISSUE_TEST_CARDS)
            elif assigned := await saga.run(ASSIGN_TRAINER):
                self._board.held_by(assigned.trainer_id)
                await saga.run(APPROVE_ALLOCATION)
                await saga.run(CREATE_SESSIONS)
            await saga.mention(INVALIDATE_LEARNING_CACHE)
        await saga.finish(CLEAR_CART)

    # -- endings -----------------------------------------------------------------------------------------------

    async def _completed(self) -> None:
        await self._announce("PURCHASE_COMPLETED", "completed")
        await self._saga.close("completed")

    async def _made_whole(self) -> None:
        await self._saga.mention(INVALIDATE_LEARNING_CACHE)
        ending = "cancelled" if self._saga.ending == "CANCELLED" else "refused"
        await self._announce("PURCHASE_REFUNDED" if self._saga.refunded else "", ending, self._saga.ending)
        await self._saga.close("rolled back")

    async def _announce(self, event: str, ending: str, code: str = "") -> None:
        news = Announcement(self._start.order, event, ending, code, skipped=self._saga.skipped)
        await self._saga.insist(PurchaseActivities.announce, news)

    def _paid(self, confirmed: PaymentConfirmed | None) -> None:
        self._confirmed = confirmed

    def _renew(self, resumed: Resumed) -> None:
        workflow.continue_as_new(replace(self._start, resumed=resumed))

    # -- messages: validators refuse, handlers post, the main loop acts ------------------------------------------

    @workflow.update(description="Try the parked step (or stuck undo) again now, instead of at its next time.")
    async def retry_now(self, act: Act) -> str:
        return await self._saga.ask(self._intent("retry_now", act))

    @retry_now.validator
    def _check_retry_now(self, act: Act) -> None:
        self._check("retry_now", act)

    @workflow.update(description="Change metadata or the item of a parked purchase, then try again.")
    async def amend(self, act: Amend) -> str:
        return await self._saga.ask(self._intent("amend", act, decides=True))

    @amend.validator
    def _check_amend(self, act: Amend) -> None:
        self._check("amend", act, self._saga.why is not None and not self._saga.ending, "it is not parked at a step")

    @workflow.update(description="Go on without the repair step it is parked at; a skipped trainer skips the lessons.")
    async def skip_step(self, act: SkipStep) -> str:
        return await self._saga.ask(self._intent("skip_step", act, decides=True, skip=act.step))

    @skip_step.validator
    def _check_skip_step(self, act: SkipStep) -> None:
        self._check("skip_step", act, self._parked_at(act.step), f"it is not parked at {act.step or 'that step'}")

    @workflow.update(description="Give this trainer all the lessons, if free; for a purchase parked without one.")
    async def assign_trainer(self, act: AssignTrainer) -> str:
        return await self._saga.ask(self._intent("assign_trainer", act, decides=True))

    @assign_trainer.validator
    def _check_assign_trainer(self, act: AssignTrainer) -> None:
        self._check("assign_trainer", act, self._parked_at("assign_trainer"), "it is not parked for a trainer")

    @workflow.update(description="Say yes to the proposed trainer; the lessons follow at once.")
    async def approve_allocation(self, act: Act) -> str:
        return await self._saga.ask(self._intent("approve_allocation", act, decides=True))

    @approve_allocation.validator
    def _check_approve_allocation(self, act: Act) -> None:
        parked = self._parked_at("approve_allocation") or self._parked_at("create_sessions")
        self._check("approve_allocation", act, parked, "no allocation waits for a yes")

    @workflow.update(description="Create the missing lessons now, with another count or schedule if given.")
    async def create_sessions(self, act: CreateSessions) -> str:
        return await self._saga.ask(self._intent("create_sessions", act, decides=bool(act.overrides)))

    @create_sessions.validator
    def _check_create_sessions(self, act: CreateSessions) -> None:
        self._check("create_sessions", act, self._at_sessions(), "it is not at its lessons")

    @workflow.signal(description="The same as create_sessions, for Temporal UI: needs no input, ignores bad input.")
    def create_sessions_manually(self, ask: Any = None) -> None:
        """Never raises: a failure here would stop the purchase for good."""
        said: dict[str, Any] = cast("dict[str, Any]", ask) if isinstance(ask, dict) else {}
        signed = {"actor": "Temporal UI", "reason": "manual signal", "request_key": str(workflow.uuid4())}
        given = {name: text for name in signed if isinstance(text := said.get(name), str) and text.strip()}
        overrides = {name: value for name, value in said.items() if name not in signed}
        nested = overrides.pop("overrides", None)
        overrides |= cast("dict[str, Any]", nested) if isinstance(nested, dict) else {}
        act = CreateSessions(**signed | given, overrides=overrides)
        faults = [] if ask is None or isinstance(ask, dict) else ["its input is no object"]
        faults += check_values("create_sessions", overrides)
        if faults or not (self._at_sessions() or act.request_key in self._saga.inbox.asked):
            self._board.note(f"signal create_sessions_manually ignored: {'; '.join(faults) or 'not at its lessons'}")
            return
        self._saga.post(self._intent("create_sessions", act, decides=bool(overrides)))

    @workflow.update(
        description="Undo everything and give money back: full, undelivered or none. Not after clear_cart."
    )
    async def cancel(self, act: Cancel) -> str:
        return await self._with_second_person(self._intent("cancel", act, decides=True), act)

    @cancel.validator
    def _check_cancel(self, act: Cancel) -> None:
        self._check("cancel", act)

    @workflow.query(description="Stage, steps done, what it waits for and what to do.")
    def progress(self) -> Progress:
        return self._board.progress()

    def _intent(self, verb: str, act: Act, *, decides: bool = False, skip: str = "") -> Intent:
        decision = None
        if decides:
            decision = Decision(self._start.order, act.request_key, verb, act.actor, act.reason, act.values)
        return Intent(act.request_key, verb, act.actor, act.reason, decision, skip)

    def _check(self, verb: str, act: Act, fits: bool = True, why_not: str = "") -> None:
        check(verb, act)
        if not fits and act.request_key not in self._saga.inbox.asked:  # a repeat gets its first answer
            raise refuse("WRONG_STAGE", f"{verb} makes no sense now: {why_not} (stage: {self._saga.stage})")

    def _parked_at(self, step: str) -> bool:
        return self._saga.why is not None and self._saga.stage == step and not self._saga.ending

    def _at_sessions(self) -> bool:
        return self._saga.stage == "create_sessions" and not self._saga.ending

    async def _with_second_person(self, intent: Intent, act: Cancel) -> str:
        """Above the limit giving money back waits until a second person sends the same key."""
        limit = self._start.rules.two_person_limit
        amount_minor = self._confirmed.amount_minor if self._confirmed else 0
        if limit and act.refund != "none" and amount_minor >= limit and intent.key not in self._saga.inbox.asked:
            first = self._held.setdefault(intent.key, intent)
            if first.actor == intent.actor:
                self._board.note(f"cancel asked by {intent.actor} waits for a second person ({intent.key})")
                self._show_held()
                await workflow.wait_condition(lambda: bool(first.second_actor or self._saga.ended))
            else:
                first.second_actor = intent.actor
                self._show_held()
            intent = first
        return await self._saga.ask(intent)

    def _show_held(self) -> None:
        self._board.held({key: held.actor for key, held in self._held.items() if not held.second_actor})
