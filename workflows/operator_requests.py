"""Handle what a saga is asked: message handlers post requests; the main loop stores, carries out and answers them.

A cancel is a request like any other. It is looked for after every await, and decides only once it is stored.
"""

from __future__ import annotations

from typing import TypeVar

from temporalio import workflow

from domain.outcomes import outcome_in
from domain.texts import storable
from workflows.inbox import AWAITING_SECOND_PERSON, MAX_HELD, UNDER_WAY, Intent, View
from workflows.saga_state import Phase
from workflows.saga_types import Failure, RollBack
from workflows.until_done import UntilDone

A = TypeVar("A")


class OperatorRequests(UntilDone[A]):
    """A saga that takes requests from operators."""

    # -- for message handlers ----------------------------------------------------------------------------------

    async def ask(self, intent: Intent) -> str:
        """Queue the request, or find the one already queued under its key; return the main loop's answer to it."""
        mine = self.request(intent)
        return await self.inbox.answered(mine) if mine else AWAITING_SECOND_PERSON

    def request(self, intent: Intent) -> Intent | None:
        """Queue the request without waiting for the answer; return None while it waits for a second person."""
        waits = intent.key in self.inbox.held or self.needs_two(intent)
        if intent.key not in self.inbox.asked and waits:
            both = self.inbox.hold(intent)
            self.status.held(self.inbox.held)
            if both is None:
                return None
            intent = both
        mine = self.inbox.post(intent, self.view)
        if self.closed and mine in self.inbox.waiting:
            self.inbox.waiting.remove(mine)
            self.inbox.close(mine, self.phase.value, self.view)
        return mine

    def needs_two(self, intent: Intent) -> bool:
        """Return whether the act must wait for a second person; an act that comes too late need not."""
        too_late = self.closed or (intent.cancel and self.phase is not Phase.FORWARD)
        return not too_late and self.hooks.needs_two(intent)

    def withdraw(self, key: str, actor: str, reason: str) -> str:
        """Take back an act that waits for a second person; return the answer, the first one if it is repeated."""
        if key in self.inbox.held:
            self._drop(key, f"withdrawn by {actor}: {reason}")
            self.inbox.arrivals += 1  # its row in the audit is written by the main loop
        return self.inbox.asked[key].answer or UNDER_WAY

    def wake(self, because: str) -> None:
        """Try again now, because the system changed something that may help. This is no operator's act."""
        self.inbox.woken_by = because
        self.inbox.arrivals += 1

    def reused(self, intent: Intent) -> str:
        """Return what is wrong with the act's key if it names another act; else an empty text."""
        known = self.inbox.known(intent.key)
        if known is None or known.same_as(intent.verb, intent.values):
            return ""
        return f"the request key names another act already: {known.verb}; use a new key"

    def not_withdrawn(self, key: str) -> str:
        """Return why the act of this key cannot be taken back; an empty text if it can, or was."""
        known = self.inbox.known(key)
        if known is None or not (known.answer is None or outcome_in(known.answer).outcome == "withdrawn"):
            return "no act waits for a second person under this key"
        if known.answer is None and key not in self.inbox.held:
            return "this act waits for nobody any more: it is under way"
        return ""

    def crowded(self, intent: Intent) -> bool:
        """Return whether so many acts wait that this one is not taken."""
        return self.inbox.full or (len(self.inbox.held) >= MAX_HELD and self.needs_two(intent))

    # -- for the main loop -------------------------------------------------------------------------------------

    async def take_requests(self) -> None:
        while new := self.inbox.take(cancels_too=self.phase is not Phase.FORWARD):
            for intent in new:
                if not self._refused_as_overtaken(intent):
                    await self._store_decision(intent)

    async def answer(self, text: str) -> None:
        self.inbox.reply(text, self.view)
        for intent in list(self.inbox.owed):
            if not await self.try_notify(*self.hooks.record(intent)):
                return
            self.inbox.owed.remove(intent)

    async def drain(self) -> None:
        """Answer everybody who asked a closed saga, put all acts on record, and let handlers finish."""
        self.drop_held(f"the purchase has ended: {self.phase.value}")
        while True:
            for intent in self.inbox.take(cancels_too=True):
                self._refused_as_overtaken(intent)
            self.inbox.reply(self.phase.value, self.view)
            await workflow.wait_condition(workflow.all_handlers_finished)
            for intent in list(self.inbox.owed):
                await self.until_done(*self.hooks.record(intent))
                self.inbox.owed.remove(intent)
            if not self.inbox.open_acts:
                return

    async def record_waking(self, before: View) -> None:
        """Put the system's waking on record if the saga was parked before.

        A waking that led to nothing is not recorded.
        """
        because, self.inbox.woken_by = self.inbox.woken_by, ""
        if because and before["code"]:
            woken = Intent(f"wake-{workflow.uuid4()}", "retry_now", "system", because, before=before)
            self.inbox.close(woken, "done", self.view)
            await self.answer("done")

    async def _store_decision(self, intent: Intent) -> bool:
        """Store what the act decides, before anything is done.

        Return False if it is answered: its key is old, or it is refused.
        """
        said: str | Failure | None = await self.retry(
            "decide",
            lambda: self.execute(*self.hooks.decide(intent)),
            lambda err: self.judge(err, None, False),
            ends=lambda failure: failure.refusal,
            answers=False,
        )
        if said is None:
            if intent.skip and intent.skip == self.stage:
                self.skipped.append(intent.skip)
            await self.hooks.decided(intent)
            return True
        refused = isinstance(said, Failure)
        text = f"refused: {said.code}: {said.message}" if refused else said
        known = not refused or said.code == "KEY_REUSED"  # the audit has a row of this key already
        self.inbox.close_one(intent, text, self.view, on_record=known)
        return False

    # -- cancels -----------------------------------------------------------------------------------------------

    async def raise_if_cancelled(self) -> None:
        if self.temporal_cancel_waits:
            self.temporal_cancel_seen = True
            said = storable(workflow.cancellation_reason() or "cancelled through Temporal")
            self.request(Intent(self._temporal_key, "cancel", "Temporal UI", said, {"refund": "full"}, stores=True))
        if self.phase is not Phase.FORWARD or self.storing_cancel:
            return
        while cancels := self.inbox.cancels:
            self.storing_cancel = True
            first = cancels[0]
            self.inbox.waiting.remove(first)
            self.inbox.taken.append(first)
            decides = await self._store_decision(first)
            self.storing_cancel = False
            if decides:
                self.decided_by = first
                raise RollBack("CANCELLED", "cancelled by an operator")

    @property
    def temporal_cancel_waits(self) -> bool:
        return not self.temporal_cancel_seen and workflow.cancellation_reason() is not None

    @property
    def decided_by_temporal(self) -> bool:
        """Whether the saga is rolled back for Temporal's own cancel."""
        return self.temporal_cancel_seen and bool(self.decided_by) and self.decided_by.key == self._temporal_key

    @property
    def _temporal_key(self) -> str:
        return f"temporal-cancel-{workflow.info().run_id}"

    def _refused_as_overtaken(self, intent: Intent) -> bool:
        """Refuse a cancel that wants another refund than the rollback under way gives.

        Return whether it was refused.
        """
        first = self.decided_by
        refund = first.values if first else {"refund": "full"}
        if not intent.cancel or not self.undoing or intent is first or intent.values == refund:
            return False
        why = f"{first.actor} cancelled it first ({first.key})" if first else f"it is being undone for {self.ending}"
        self.inbox.close_one(intent, f"refused: WRONG_STAGE: {why}, refund {refund['refund']}", self.view)
        return True

    def drop_held(self, why: str) -> None:
        """Answer the held acts that make no sense any more: cancels, or all of them if the saga is closed."""
        for key in [key for key, held in self.inbox.held.items() if self.closed or held.cancel]:
            self._drop(key, f"not done: nobody had confirmed it; {why}")

    def _drop(self, key: str, answer: str) -> None:
        self.inbox.close(self.inbox.held.pop(key), answer, self.view)
        self.status.held(self.inbox.held)
