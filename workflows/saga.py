"""The saga engine: run, mention, finish, roll back, insist. It knows steps and intents, and no business word.

Its laws: push an undo before its step runs; a cancel is a message like any other, looked at after every await, and
decides only once it is stored; a failure the table does not know is trouble and never undoes anything; whatever waits,
waits in `_until_done`, which tells somebody, escalates, and goes on in a new run before the history fills; a rollback
skips a stuck undo only to come back to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from domain.texts import storable
from workflows.inbox import AWAITING_SECOND_PERSON, UNDER_WAY, Inbox, Intent, View
from workflows.policies import MOST_EVENTS, Rules
from workflows.saga_types import STORY_ENDS, Board, Desk, Ends, Kind, Patience, Resumed, Step, Why, ended_by

A = TypeVar("A")
R = TypeVar("R")


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
    undos: list[Step[A, Any]] = field(default_factory=list[Step[A, Any]])  # owed
    inbox: Inbox = field(default_factory=Inbox)
    patience: dict[str, Patience] = field(default_factory=dict[str, Patience])  # of what is being waited for
    skipped: list[str] = field(default_factory=list[str])
    notified: set[str] = field(default_factory=set[str])
    stage: str = ""
    why: Why | None = None  # what it waits for, while it is parked
    refunded: bool = False  # the rollback gave money back
    past_pivot: bool = False
    catching_up: bool = False
    deciding: bool = False  # a cancel is being stored
    client_seen: bool = False  # Temporal's own cancel has been made an act
    ending: str = ""  # the code it is rolled back for
    decided_by: Intent | None = None  # the cancel it is rolled back for
    ended: str = ""

    def __post_init__(self) -> None:
        if before := self.resumed:
            self.inbox = Inbox.of(before.acts, before.held)
            self.patience = dict(before.patience)
            self.skipped = list(before.skipped)
            self.past_pivot, self.refunded, self.decided_by = before.past_pivot, before.refunded, before.decided_by
            self.catching_up = True

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
        await self._heed()

        async def attempt() -> R | None:
            return None if step.name in self.skipped else await self._attempt(step.do, self.order)

        result = await self._until_done(
            step.name, attempt, lambda err: self.judge(err, step, False), ends=lambda why: why.ends, kind=step.kind
        )
        if isinstance(result, Why):
            raise Ends(result.code, result.message)
        if step.name in self.skipped:
            self.why = None
            await self._answer("skipped")
            return None
        await self._did(step)
        return result

    async def mention(self, step: Step[A, R]) -> None:
        """A best-effort step on the way: tried, its failure only noted."""
        await self._heed()
        await self._tried(step)
        await self._heed()

    async def finish(self, step: Step[A, R]) -> None:
        """The pivot: from here on nothing takes the course back, a cancel included; a failure is only noted."""
        await self._heed()
        self.past_pivot = True
        self._enter(step.name)
        if await self._tried(step):
            self.board.done(step.name)

    async def tell(self, story: Coroutine[Any, Any, None], table: tuple[Step[A, Any], ...]) -> None:
        """Tell the story; on what ends it undo it and raise the failure the run ends with. A bug undoes nothing."""
        try:
            if self.resumed:
                # All of them, at once: a cancel may come before the story has got to where it was.
                self.undos = [step for step in table if step.name in self.resumed.undos]
                if self.resumed.code:
                    story.close()
                    raise Ends(self.resumed.code, "made whole")
            await story
        except (Ends, *STORY_ENDS) as err:
            self.ending = err.code if isinstance(err, Ends) else _code_of(err)
            self._drop_held(f"it is being undone already ({self.ending})")
            await self._roll_back()
            if self.decided_by and self.client_seen and self.decided_by.key == self._client_key:
                raise asyncio.CancelledError from err  # Temporal's own cancel ends the run as Temporal says
            raise ended_by(self.ending, str(err)) from err.__cause__

    async def insist(self, act: Callable[[Any, Any], Any], arg: Any) -> None:
        """An act that must happen before the run ends: tried for ever, shown when it is stuck."""
        await self._until_done(act.__name__, lambda: self._attempt(act, arg), lambda err: self.judge(err, None, False))

    async def close(self, ended: str) -> None:
        """Answer everybody, put all acts on record, let handlers finish."""
        self.ended, self.why = ended, None
        self.board.at(ended)
        self._drop_held(f"the purchase has ended: {ended}")
        while True:
            for intent in self.inbox.take(cancels_too=True):
                self._overtaken(intent)
            self.inbox.reply(ended, self.view)
            await workflow.wait_condition(workflow.all_handlers_finished)
            for intent in list(self.inbox.owed):
                await self.insist(*self.desk.record(intent))
                self.inbox.owed.remove(intent)
            if not self.inbox.open_acts:
                return

    # -- messages ----------------------------------------------------------------------------------------------

    async def ask(self, intent: Intent) -> str:
        """For message handlers: post the intent once per key, wait for the main loop's answer."""
        mine = self.request(intent)
        return await self.inbox.answered(mine) if mine else AWAITING_SECOND_PERSON

    def request(self, intent: Intent) -> Intent | None:
        """The same without waiting; None while it waits for a second person."""
        waits = intent.key in self.inbox.held or self.needs_two(intent)
        if intent.key not in self.inbox.asked and waits:
            both = self.inbox.hold(intent)
            self.board.held(self.inbox.held)
            if both is None:
                return None
            intent = both
        mine = self.inbox.post(intent, self.view)
        if self.ended and mine in self.inbox.waiting:
            self.inbox.waiting.remove(mine)
            self.inbox.close(mine, self.ended, self.view)
        return mine

    def needs_two(self, intent: Intent) -> bool:
        """Whether it waits for a second person; a cancel that has nothing to stop any more does not."""
        too_late = intent.cancel and (self.past_pivot or self.ending)
        return not (self.ended or too_late) and self.desk.needs_two(intent)

    def withdraw(self, key: str, actor: str, reason: str) -> str:
        """Take back an act that waits for a second person; again tells the first answer."""
        if key in self.inbox.held:
            self._drop(key, f"withdrawn by {actor}: {reason}")
            self.inbox.arrivals += 1  # its row in the audit is written by the main loop
        return self.inbox.asked[key].answer or UNDER_WAY

    def wake(self, because: str) -> None:
        """The system changed something that may help: try again now. No act of anybody's, nothing to remember."""
        self.inbox.woken_by = because
        self.inbox.arrivals += 1

    # -- the one loop that waits -------------------------------------------------------------------------------

    async def _until_done(
        self,
        name: str,
        attempt: Callable[[], Coroutine[Any, Any, R]],
        judge: Callable[[FailureError], Why],
        *,
        ends: Callable[[Why], bool] = lambda why: False,
        kind: Kind | None = None,
        answers: bool = True,
    ) -> R | Why:
        """Try until it is done, with pauses, told and escalated. A reason that `ends` it is given back instead.

        With `answers` the messages that come belong to the next try; without, they only hurry it.
        """
        patience = self.patience.setdefault(name, Patience())
        while True:
            seen = self.inbox.arrivals
            try:
                result = await attempt()
            except FailureError as err:
                why = judge(err)
            else:
                self.patience.pop(name, None)
                return result
            await self._heed()
            if answers:
                self.why = why
                await self._answer(self._failed_again(why))
            if ends(why):
                self.patience.pop(name, None)
                return why
            await self._pause(name, why, patience, kind, seen, answers)

    async def _pause(
        self, name: str, why: Why, patience: Patience, kind: Kind | None, seen: int, answers: bool
    ) -> None:
        """Wait for the timer, a message or a cancel; raises at the deadline. Only refusals of steps have one."""
        patience.since = patience.since or workflow.now()
        pause, limit, spent = self._terms(why, patience, kind)
        left = limit - spent if limit else None
        if left is not None and left <= 0:
            raise Ends(why.expires_as or why.code, why.message)
        await self._renew()
        now = workflow.now()
        tries = pause if pause and (left is None or pause <= left) else None
        self.board.parked(
            name if answers else self.stage,
            why,
            patience.since,
            next_try=now + timedelta(seconds=tries) if tries else None,
            gives_up=now + timedelta(seconds=left) if left else None,
        )
        await self._notify(why)
        began = workflow.now()
        await self._sleep(name, why, patience, tries or left, seen, answers)
        waited = (workflow.now() - began).total_seconds()
        if why.waits:
            patience.pending_for += waited
        elif why.refusal:
            patience.refused_for += waited
        await self._heed()
        if answers:
            await self._take_up()

    def _terms(self, why: Why, patience: Patience, kind: Kind | None) -> tuple[float, float, float]:
        """Seconds to the next try (0: none), the deadline (0: none), and what is spent of it."""
        if why.waits:
            return self.rules.pending_pause, self.rules.pending_deadline, patience.pending_for
        if why.refusal and kind:
            limit = self.rules.gate_deadline if kind is Kind.GATE else self.rules.repair_deadline
            return (self.rules.heal_pause if why.heals else 0), limit, patience.refused_for
        patience.rounds += 1
        return self.rules.trouble_pause_of(patience.rounds - 1), 0, 0

    async def _sleep(
        self, name: str, why: Why, patience: Patience, pause: float | None, seen: int, answers: bool
    ) -> None:
        """Until the timer or news; if it has needed somebody for too long, that is told once, on the way."""
        summary = f"{name}: {why.code}"
        if why.waits or patience.escalated or not self.rules.escalate_after or not patience.since:
            await self._news_within(pause, summary, seen, answers)
            return
        due = (patience.since - workflow.now()).total_seconds() + self.rules.escalate_after
        if pause and pause <= due:
            await self._news_within(pause, summary, seen, answers)
            return
        if due > 0 and await self._news_within(due, f"{summary}: escalates", seen, answers):
            return
        patience.escalated = await self._told(*self.desk.escalated(why))
        if patience.escalated:
            workflow.logger.warning("attention_escalated", extra={"step": name, "code": why.code})
            workflow.metric_meter().create_counter("coursaga_attention_escalated").add(1, {"code": why.code})
        rest = max(pause - max(due, 0), 1.0) if pause else None
        if not patience.escalated:  # told when it parks again, which shall not depend on a message
            rest = min(rest or self.rules.trouble_pause_most, self.rules.trouble_pause_most)
        await self._news_within(rest, summary, seen, answers)

    async def _news_within(self, pause: float | None, summary: str, seen: int, answers: bool) -> bool:
        """Whether something came since `seen`, before the time was up."""

        def news() -> bool:
            return self.inbox.arrivals > seen or self._client_waits or (answers and bool(self.inbox.waiting))

        timeout = timedelta(seconds=pause) if pause else None
        try:
            await workflow.wait_condition(news, timeout=timeout, timeout_summary=summary)
        except TimeoutError:
            return False
        return True

    async def _renew(self) -> None:
        """A long-parked run goes on in a new one before its history fills (the server would terminate it)."""
        info = workflow.info()
        if not info.is_continue_as_new_suggested():
            return
        if self.inbox.waiting and info.get_current_history_length() < MOST_EVENTS:
            return  # they are taken up at once, and answered before
        self.inbox.leaving = True  # whoever waits for an answer asks the new run
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.renew(
            Resumed(
                stage=self.stage,
                patience=self.patience,
                undos=[step.name for step in self.undos],
                skipped=self.skipped,
                acts=self.inbox.open_acts,
                held=list(self.inbox.held.values()),
                code=self.ending,
                decided_by=self.decided_by,
                refunded=self.refunded,
                past_pivot=self.past_pivot,
            )
        )

    # -- inside ------------------------------------------------------------------------------------------------

    def _enter(self, stage: str) -> None:
        self.stage = stage
        self.catching_up = self.catching_up and bool(self.resumed) and self.resumed.stage != stage
        if not self.catching_up:  # until then people see where the earlier run had parked
            self.board.at(stage)

    async def _did(self, step: Step[A, Any]) -> None:
        before, self.why = self.view, None
        if not self.catching_up:
            self.board.done(step.name)
        await self._answer("done")
        if not self.catching_up:  # while the ledger gives first results back, a message is for the parked step
            self.inbox.take()
            await self._answer("not needed: it succeeded meanwhile")
            await self._record_waking(before)
        await self._heed()

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
        )

    async def _told(self, act: Callable[[Any, Any], Any], arg: Any) -> bool:
        try:
            await self._attempt(act, arg)
        except FailureError:
            return False
        return True

    async def _notify(self, why: Why) -> None:
        """Tell once per reason that somebody is needed; if that fails, again when it parks again."""
        if not why.waits and why.code not in self.notified and await self._told(*self.desk.needs_attention(why)):
            self.notified.add(why.code)

    async def _take_up(self) -> None:
        """Those who asked meanwhile belong to the next try; what they decided is stored before it."""
        while new := self.inbox.take(cancels_too=self.past_pivot or bool(self.ending)):
            for intent in new:
                if not self._overtaken(intent):
                    await self._decide(intent)

    async def _decide(self, intent: Intent) -> bool:
        """Whether to act on it: its key is new, what it decided is stored. Else it is answered here."""
        said: str | Why | None = await self._until_done(
            "decide",
            lambda: self._attempt(*self.desk.decide(intent)),
            lambda err: self.judge(err, None, False),
            ends=lambda why: why.refusal,
            answers=False,
        )
        if said is None:
            if intent.skip and intent.skip == self.stage:
                self.skipped.append(intent.skip)
            await self.desk.decided(intent)
            return True
        known = not isinstance(said, Why) or said.code == "KEY_REUSED"  # the audit has a row of this key already
        self.inbox.close_one(intent, _answer_of(said), self.view, on_record=known)
        return False

    def _overtaken(self, intent: Intent) -> bool:
        """A cancel that comes after another one decided, and says another thing, is told so."""
        first = self.decided_by
        refund = first.values if first else {"refund": "full"}
        if not intent.cancel or not self.ending or intent is first or intent.values == refund:
            return False
        why = f"{first.actor} cancelled it first ({first.key})" if first else f"it is being undone for {self.ending}"
        self.inbox.close_one(intent, f"refused: WRONG_STAGE: {why}, refund {refund['refund']}", self.view)
        return True

    def _failed_again(self, why: Why) -> str:
        if self.ending:
            return f"rolling back; stuck: {', '.join(step.name for step in reversed(self.undos))}"
        return f"tried again, and refused again: {why.code}"

    async def _answer(self, text: str) -> None:
        """Answer those taken; then their audit rows, owed until they are written."""
        self.inbox.reply(text, self.view)
        for intent in list(self.inbox.owed):
            if not await self._told(*self.desk.record(intent)):
                return
            self.inbox.owed.remove(intent)

    async def _record_waking(self, before: View) -> None:
        """What the system's waking led to is on record; that it led to nothing is not."""
        because, self.inbox.woken_by = self.inbox.woken_by, ""
        if because and before["code"]:
            woken = Intent(f"wake-{workflow.uuid4()}", "retry_now", "system", because, before=before)
            self.inbox.close(woken, "done", self.view)
            await self._answer("done")

    # -- cancels -----------------------------------------------------------------------------------------------

    async def _heed(self) -> None:
        """A cancel is looked at after every await. The first that can be stored decides, and ends the story."""
        if self._client_waits:
            self.client_seen = True
            said = storable(workflow.cancellation_reason() or "cancelled through Temporal")
            self.request(Intent(self._client_key, "cancel", "Temporal UI", said, {"refund": "full"}, stores=True))
        if self.past_pivot or self.ending or self.deciding:
            return
        while cancels := self.inbox.cancels:
            self.deciding = True
            mine = cancels[0]
            self.inbox.waiting.remove(mine)
            self.inbox.taken.append(mine)
            decides = await self._decide(mine)
            self.deciding = False
            if decides:
                self.decided_by = mine
                raise Ends("CANCELLED", "cancelled by an operator")

    @property
    def _client_waits(self) -> bool:
        """Temporal's own cancel has come and has not been looked at."""
        return not self.client_seen and workflow.cancellation_reason() is not None

    @property
    def _client_key(self) -> str:
        return f"temporal-cancel-{workflow.info().run_id}"

    def _drop_held(self, why: str) -> None:
        for key in [key for key, held in self.inbox.held.items() if self.ended or held.cancel]:
            self._drop(key, f"not done: nobody had confirmed it; {why}")

    def _drop(self, key: str, answer: str) -> None:
        self.inbox.close(self.inbox.held.pop(key), answer, self.view)
        self.board.held(self.inbox.held)

    # -- the way back ------------------------------------------------------------------------------------------

    async def _roll_back(self) -> None:
        """Undo in reverse; a stuck undo waits aside and is tried again for ever, the others go on."""
        self._enter("rolling_back")
        failed: dict[FailureError, Step[A, Any]] = {}

        async def attempt() -> None:
            failed.clear()
            for step in self.undos[::-1]:
                assert step.undo is not None
                try:
                    result = await self._attempt(step.undo, self.order)
                except FailureError as err:
                    failed[err] = step
                else:
                    self.undos.remove(step)
                    self.refunded = self.refunded or bool(getattr(result, "refunded", False))
            if failed:
                raise list(failed)[-1]  # the refund is told first: it is the last, and what the student waits for

        await self._until_done("rolling_back", attempt, lambda err: self.judge(err, failed[err], True))
        self.why = None


def _answer_of(said: object) -> str:
    return f"refused: {said.code}: {said.message}" if isinstance(said, Why) else str(said)


def _code_of(err: BaseException) -> str:
    return (isinstance(err, ApplicationError) and err.type) or "CANCELLED"


def _promise(do: Callable[..., Any]) -> str:
    """What an activity promises, for Temporal UI beside its name: the first line of its docstring, without its source."""
    return (do.__doc__ or do.__name__).strip().splitlines()[0].partition(" (")[0].rstrip(".:;")[:200]
