"""Acts that operators ask of a purchase: message handlers post them; the main loop takes, answers and records them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow

View = dict[str, Any]

AWAITING_SECOND_PERSON = "awaiting_second_person"
UNDER_WAY = "under_way"  # the run goes on in a new one: the same act sent again hears the outcome
# Answered acts that a run remembers; older ones are known by the audit.
_MAX_REMEMBERED = 100
MAX_WAITING, MAX_HELD = 50, 10  # acts that wait for an answer, or for a second person; more are refused


@dataclass
class Intent:
    """One act. `stores`: steps read its values, so they are stored before it is carried out.

    `skip`: the step it skips.
    """

    key: str
    verb: str
    actor: str
    reason: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    stores: bool = False
    skip: str = ""
    second_actor: str = ""
    before: View = field(default_factory=dict[str, Any])
    after: View = field(default_factory=dict[str, Any])
    answer: str | None = None

    @property
    def cancel(self) -> bool:
        return self.verb == "cancel"

    def same_as(self, verb: str, values: dict[str, Any]) -> bool:
        """Return whether this act has this verb and these values: a request key names one verb with one body."""
        return (self.verb, self.values) == (verb, values)


@dataclass
class Inbox:
    """The acts of one run by request key: each key is one act, however often and by however many doors it comes."""

    asked: dict[str, Intent] = field(default_factory=dict[str, Intent])
    waiting: list[Intent] = field(default_factory=list[Intent])
    taken: list[Intent] = field(default_factory=list[Intent])
    owed: list[Intent] = field(default_factory=list[Intent])  # answered, their audit row not yet written
    held: dict[str, Intent] = field(default_factory=dict[str, Intent])  # they wait for a second person
    arrivals: int = 0  # counts what came, so that a wait ends once for each
    leaving: bool = False
    woken_by: str = ""  # why the system woke the purchase since its last try

    @classmethod
    def of(cls, open_acts: list[Intent], held: list[Intent]) -> Inbox:
        """Return an inbox with the acts an earlier run left: not answered, not on record, or held for a second person."""
        return cls(
            asked={intent.key: intent for intent in open_acts},
            waiting=[intent for intent in open_acts if intent.answer is None],
            owed=[intent for intent in open_acts if intent.answer is not None],
            held={intent.key: intent for intent in held},
        )

    @property
    def open_acts(self) -> list[Intent]:
        """The acts that are not answered, or not on record."""
        return [*self.taken, *self.waiting, *self.owed]

    @property
    def cancels(self) -> list[Intent]:
        return [intent for intent in self.waiting if intent.cancel]

    @property
    def full(self) -> bool:
        """Whether so many acts wait for an answer that no more are taken."""
        return len(self.waiting) + len(self.taken) >= MAX_WAITING

    def known(self, key: str) -> Intent | None:
        """Return the act of this key that this run knows, else None."""
        return self.asked.get(key) or self.held.get(key)

    def post(self, intent: Intent, view: View) -> Intent:
        """Queue the request, or return the one already queued under the same request key."""
        if intent.key not in self.asked:
            intent.before = view
            self.asked[intent.key] = intent
            self.waiting.append(intent)
            self.arrivals += 1
        return self.asked[intent.key]

    def hold(self, intent: Intent) -> Intent | None:
        """Hold an act that needs two people.

        Return None while it waits for the second; then the act, no longer held.
        """
        first = self.held.setdefault(intent.key, intent)
        if first.actor == intent.actor:
            return None
        first.second_actor = intent.actor
        return self.held.pop(intent.key)

    async def answered(self, intent: Intent) -> str:
        """Wait until the main loop has answered the act, and return the answer.

        UNDER_WAY if it goes on in a new run first.
        """
        await workflow.wait_condition(lambda: intent.answer is not None or self.leaving)
        return UNDER_WAY if intent.answer is None else intent.answer

    def take(self, *, cancels_too: bool = False) -> list[Intent]:
        """Hand the waiting acts to the next try and return them; cancels stay waiting unless `cancels_too`."""
        new = [intent for intent in self.waiting if cancels_too or not intent.cancel]
        self.taken += new
        self.waiting = [intent for intent in self.waiting if intent not in new]
        return new

    def reply(self, text: str, view: View) -> None:
        """Answer all acts that were taken."""
        for intent in self.taken:
            self.close(intent, text, view)
        self.taken = []

    def close(self, intent: Intent, text: str, view: View, *, on_record: bool = False) -> None:
        """Answer the act, and forget the oldest ones on record. `on_record`: its row in the audit exists already."""
        intent.answer, intent.after = text, {**view, "outcome": text}
        self.asked[intent.key] = intent
        if not on_record:
            self.owed.append(intent)
        done = [key for key, act in self.asked.items() if act.answer is not None and act not in self.owed]
        for key in done[:-_MAX_REMEMBERED]:
            del self.asked[key]

    def close_one(self, intent: Intent, text: str, view: View, *, on_record: bool = False) -> None:
        """Answer one of the acts that were taken."""
        self.taken.remove(intent)
        self.close(intent, text, view, on_record=on_record)
