"""The saga engine: run, mention, finish, roll back, insist. It knows steps and intents, and no business word.

Its laws: push an undo before its step runs; a cancel is a state, looked at after every await; a failure the
table does not know is trouble and never undoes anything; a rollback cannot be cancelled and skips a stuck undo
only to come back to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from workflows.inbox import Inbox, Intent, View
from workflows.policies import Rules
from workflows.story import STORY_ENDS, Board, Desk, Kind, Patience, Resumed, Step, Why, ended_by, uncancellable

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


@dataclass
class Saga(Generic[A]):
    """One story told in steps over the same argument `order`."""

    order: A
    rules: Rules
    board: Board
    judge: Callable[[FailureError, Step[Any, Any] | None, bool], Why]  # True: it was the step's undo that failed
    renew: Callable[[Resumed], None]  # goes on in a new run; does not return
    desk: Desk
    resumed: Resumed | None = None
    undos: list[Step[A, Any]] = field(default_factory=list[Step[A, Any]])
    inbox: Inbox = field(default_factory=Inbox)
    skipped: list[str] = field(default_factory=list[str])
    notified: set[str] = field(default_factory=set[str])
    undone: dict[str, Any] = field(default_factory=dict[str, Any])
    stage: str = ""
    why: Why | None = None  # what it waits for, while it is parked
    past_pivot: bool = False
    catching_up: bool = False
    ending: str = ""  # the code it is rolled back for
    ended: str = ""

    def __post_init__(self) -> None:
        if self.resumed:
            self.inbox = Inbox.of(self.resumed.answers)
            self.skipped = list(self.resumed.skipped)
            self.past_pivot = self.resumed.past_pivot
            self.catching_up = True

    @property
    def refunded(self) -> bool:
        """Whether the rollback gave money back, in this run or the one before."""
        before = bool(self.resumed and self.resumed.refunded)
        return before or any(getattr(result, "refunded", False) for result in self.undone.values())

    @property
    def view(self) -> View:
        """Where the story stands, for the record of an act."""
        return {"stage": self.ended or self.stage, "code": self.why.code if self.why else None}

    # -- the words of the sentence -----------------------------------------------------------------------------

    async def run(self, step: Step[A, R]) -> R | None:
        """Do the step, parking as often and as long as it takes; raises what ends the story. None: skipped."""
        self._enter(step.name)
        if step.undo and step not in self.undos:
            self.undos.append(step)  # before anything else: even a cancel before the first step finds its undo
        patience = self._patience(step.name)
        while step.name not in self.skipped:
            self._heed()
            try:
                result = await self._attempt(step.do, self.order)
            except FailureError as err:
                self._heed()
                self.why = why = self.judge(err, step, False)
                await self._reply(f"tried again, and refused again: {why.code}")
                if why.ends:
                    raise ended_by(why.code, why.message) from err
                await self._park(step, why, patience)
            else:
                self.why = None
                self.board.done(step.name)
                await self._reply("done")
                if not self.catching_up:  # while the ledger gives first results back, a message is for the parked step
                    self.inbox.take()
                    await self._reply("not needed: it succeeded meanwhile")
                self._heed()  # an activity that ends well swallows the cancel
                return result
        self.why = None
        await self._reply("skipped")
        return None

    async def mention(self, step: Step[A, R]) -> None:
        """A best-effort step on the way: tried, its failure only noted."""
        self._heed()
        await self._tried(step)
        self._heed()

    async def finish(self, step: Step[A, R]) -> None:
        """The pivot: from here on nothing takes the course back, a cancel included; a failure is only noted."""
        self._heed()
        self.past_pivot = True
        self._enter(step.name)
        if await uncancellable(self._tried(step)):
            self.board.done(step.name)

    async def tell(self, story: Coroutine[Any, Any, None], table: tuple[Step[A, Any], ...]) -> None:
        """Tell the story; on a refusal, a cancel or an escaped timeout undo it and raise. A bug undoes nothing."""
        try:
            if self.resumed:
                # All of them, at once: a cancel may come before the story has got to where it was.
                self.undos = [step for step in table if step.name in self.resumed.undos]
                if self.resumed.code:
                    story.close()
                    raise ended_by(self.resumed.code, "made whole")
            await story
        except STORY_ENDS as err:
            self.ending = (isinstance(err, ApplicationError) and err.type) or "CANCELLED"
            await uncancellable(self._decide_cancel())
            await uncancellable(self._roll_back())
            raise

    async def insist(self, act: Callable[[Any, T], Any], arg: T) -> None:
        """An act that must happen before the run ends: tried for ever, shown when it is stuck."""
        patience = self._patience(act.__name__)
        for pause in patience.pauses:
            try:
                await self._attempt(act, arg)
            except FailureError as err:
                await self._wait_aside(act.__name__, self.judge(err, None, False), patience, pause, left=[])
            else:
                return

    async def close(self, ended: str) -> None:
        """Answer everybody, put all acts on record, let handlers finish."""
        self.ended, self.why = ended, None
        self.board.at(ended)
        while True:
            self.inbox.take(cancels_too=True)
            self.inbox.reply(ended, self.view)
            await workflow.wait_condition(workflow.all_handlers_finished)
            if self.inbox.idle:
                return
            for intent in self.inbox.owed:
                await self.insist(*self.desk.record(intent))
            self.inbox.owed = []

    async def ask(self, intent: Intent) -> str:
        """For message handlers: post the intent once per key, wait for the main loop's answer."""
        return await self.inbox.answered(self.post(intent))

    def post(self, intent: Intent) -> Intent:
        """The same without waiting."""
        mine = self.inbox.post(intent, self.view)
        if self.ended and mine in self.inbox.waiting:
            self.inbox.waiting.remove(mine)
            self.inbox.close(mine, self.ended, self.view)
        return mine

    # -- inside ------------------------------------------------------------------------------------------------

    def _enter(self, stage: str) -> None:
        self.stage = stage
        self.catching_up = self.catching_up and bool(self.resumed) and self.resumed.stage != stage
        self.board.at(stage)

    def _patience(self, stage: str) -> Patience:
        pauses = self.rules.trouble_pauses()
        before = self.resumed
        if before and before.stage == stage:
            return Patience(pauses, before.since, before.refused_for, before.pending_for, before.escalated)
        return Patience(pauses)

    async def _tried(self, step: Step[A, Any]) -> bool:
        try:
            await self._attempt(step.do, self.order)
        except FailureError as err:
            self.board.gave_up(step.name, self.judge(err, step, False))
            return False
        return True

    async def _attempt(self, do: Callable[[Any, Any], R], arg: Any) -> R:
        return await workflow.execute_activity_method(
            do,
            arg,
            start_to_close_timeout=timedelta(seconds=self.rules.attempt),
            retry_policy=self.rules.quick(),
            summary=_promise(do),
            # With the default an undo overtakes its running do.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )

    async def _park(self, step: Step[A, Any], why: Why, patience: Patience) -> None:
        """Wait for the timer, a message or a cancel; raises at the deadline. Only refusals have one."""
        patience.since = patience.since or workflow.now()
        wait, limit, spent = self._terms(step, why, patience)
        left = limit - spent
        if limit:
            if left <= 0:
                raise ended_by(why.expires_as or why.code, why.message)
            wait = min(wait, left) if wait else left
        await self._renew(patience)
        pause = timedelta(seconds=wait) if wait else None
        next_try = workflow.now() + pause if pause else None
        gives_up = workflow.now() + timedelta(seconds=left) if limit else None
        self.board.parked(step.name, why, patience.since, next_try, gives_up)
        if not why.waits:
            await self._notify(why)
            self._heed()
        began = workflow.now()
        await self._wait(step, why, patience, pause)
        waited = (workflow.now() - began).total_seconds()
        if why.waits:
            patience.pending_for += waited
        elif why.refusal:
            patience.refused_for += waited
        self._heed()
        await self._decide()
        self.skipped += [intent.skip for intent in self.inbox.taken if intent.skip == step.name]

    def _terms(self, step: Step[A, Any], why: Why, patience: Patience) -> tuple[float, float, float]:
        """Seconds to the next try (0: none), the deadline (0: none), and what is spent of it."""
        if why.waits:
            return self.rules.pending_pause, self.rules.pending_deadline, patience.pending_for
        if why.refusal:
            limit = self.rules.gate_deadline if step.kind is Kind.GATE else self.rules.repair_deadline
            return (self.rules.heal_pause if why.heals else 0), limit, patience.refused_for
        return next(patience.pauses).total_seconds(), 0, 0

    async def _wait(self, step: Step[A, Any], why: Why, patience: Patience, pause: timedelta | None) -> None:
        """Until the timer or a message; if it has needed somebody for too long, that is told once, on the way."""
        summary = f"{step.name}: {why.code}"
        if why.waits or patience.escalated or not self.rules.escalate_after:
            return await self._wake(pause, summary)
        since = patience.since or workflow.now()
        left = since + timedelta(seconds=self.rules.escalate_after) - workflow.now()
        if left > timedelta(0) and pause and pause <= left:
            return await self._wake(pause, summary)
        if left > timedelta(0):
            await self._wake(left, f"{summary}: escalates")
        if self.inbox.taken or self.inbox.waiting:
            return None
        patience.escalated = await self._told(*self.desk.escalated(why))
        self._heed()
        rest = max(pause - max(left, timedelta(0)), timedelta(seconds=1)) if pause else None
        if patience.escalated:
            workflow.logger.warning("attention_escalated", extra={"step": step.name, "code": why.code})
            workflow.metric_meter().create_counter("coursaga_attention_escalated").add(1, {"code": why.code})
        else:  # told when it parks again, which shall not depend on a message
            again = timedelta(seconds=self.rules.trouble_pause_most)
            rest = min(rest, again) if rest else again
        return await self._wake(rest, summary)

    async def _notify(self, why: Why) -> None:
        """Tell once per reason that somebody is needed; if that fails, again when it parks again."""
        if why.code not in self.notified and await self._told(*self.desk.needs_attention(why)):
            self.notified.add(why.code)

    async def _told(self, act: Callable[[Any, Any], Any], arg: Any) -> bool:
        try:
            await self._attempt(act, arg)
        except FailureError:
            return False
        return True

    async def _wake(self, pause: timedelta | None, summary: str) -> None:
        """Sleep until the timer or a message; messages other than a cancel are taken for the next try."""
        try:
            await workflow.wait_condition(lambda: bool(self.inbox.waiting), timeout=pause, timeout_summary=summary)
        except TimeoutError:
            return
        self.inbox.take()

    async def _decide(self) -> None:
        """Store what those taken decided, before it is acted on; a decision that is refused is answered so."""
        for intent in list(self.inbox.taken):
            if intent.decision is not None and (refused := await self._store(intent)):
                self.inbox.taken.remove(intent)
                self.inbox.close(intent, f"refused: {refused.code}: {refused.message}", self.view)

    async def _store(self, intent: Intent) -> Why | None:
        """Tried for ever, shown when it is stuck; a refusal is given back."""
        patience = self._patience("decide")
        for pause in patience.pauses:
            try:
                await self._attempt(*self.desk.decide(intent))
            except FailureError as err:
                self._heed()
                why = self.judge(err, None, False)
                if why.refusal:
                    return why
                patience.since = patience.since or workflow.now()
                self.board.parked(self.stage, why, patience.since, workflow.now() + pause)
                with suppress(TimeoutError):
                    await workflow.wait_condition(lambda: bool(self.inbox.cancels), timeout=pause)
                self._heed()
            else:
                break
        return None

    async def _decide_cancel(self) -> None:
        """The undos read what the cancel decided: it is stored before the first of them. The first cancel decides."""
        for intent in self.inbox.cancels[:1]:
            await self._store(intent)

    async def _reply(self, text: str) -> None:
        """Answer those taken; then their audit rows, owed until they are written."""
        self.inbox.reply(text, self.view)
        for intent in list(self.inbox.owed):
            if await self._told(*self.desk.record(intent)):
                self.inbox.owed.remove(intent)

    def _heed(self) -> None:
        """A cancel is a state: look at it where its event may have been swallowed."""
        if self.past_pivot or self.ending:
            return
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        if self.inbox.cancels:
            raise ended_by("CANCELLED", "cancelled by an operator")

    async def _roll_back(self) -> None:
        """Undo in reverse; a stuck undo waits aside and is tried again for ever, the others go on."""
        self._enter("rolling_back")
        left, patience = self.undos[::-1], self._patience("rolling_back")
        for pause in patience.pauses:
            stuck: list[Step[A, Any]] = []
            why: Why | None = None
            for step in left:
                try:
                    self.undone[step.name] = await self._attempt(_undo_of(step), self.order)
                except FailureError as err:
                    stuck.append(step)
                    # The refund is told first: it is the last of the undos, and what the student waits for.
                    self.why = why = self.judge(err, step, True)
            if not (left := stuck) or not why:
                self.why = None
                return
            names = [step.name for step in left]
            self.inbox.take(cancels_too=True)
            await self._reply(f"rolling back; stuck: {', '.join(names)}")
            await self._wait_aside(self.stage, why, patience, pause, left=names)

    async def _wait_aside(self, stage: str, why: Why, patience: Patience, pause: timedelta, *, left: list[str]) -> None:
        """Wait where nothing may be given up: past the pivot or in the rollback."""
        patience.since = patience.since or workflow.now()
        await self._renew(patience, left)
        self.board.parked(stage, why, patience.since, workflow.now() + pause)
        await self._wake(pause, f"{stage}: {why.code}")
        self.inbox.take(cancels_too=True)  # a cancel has nothing more to stop here

    async def _renew(self, patience: Patience, left: list[str] | None = None) -> None:
        """A long-parked run goes on in a new one before its history fills (the server would terminate it)."""
        if not workflow.info().is_continue_as_new_suggested() or not self.inbox.idle:
            return
        try:  # those just answered have still to return; one that waits for a second person will not
            await workflow.wait_condition(workflow.all_handlers_finished, timeout=timedelta(seconds=1))
        except TimeoutError:
            return
        if not self.inbox.idle:
            return
        self.renew(
            Resumed(
                stage=self.stage,
                since=patience.since or workflow.now(),
                refused_for=patience.refused_for,
                pending_for=patience.pending_for,
                answers=self.inbox.answers,
                undos=[step.name for step in self.undos] if left is None else left,
                skipped=self.skipped,
                escalated=patience.escalated,
                code=self.ending,
                refunded=self.refunded,
                past_pivot=self.past_pivot,
            )
        )


def _undo_of(step: Step[A, Any]) -> Callable[[Any, A], Any]:
    assert step.undo is not None
    return step.undo


def _promise(do: Callable[..., Any]) -> str:
    """What an activity promises, for Temporal UI beside its name: the first line of its docstring, without its source."""
    return (do.__doc__ or do.__name__).strip().splitlines()[0].partition(" (")[0].rstrip(".:;")[:200]
