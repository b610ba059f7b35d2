"""What operators ask of a purchase: posted by message handlers, taken by the main loop, answered and owed an audit row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow

View = dict[str, Any]


@dataclass
class Intent:
    """One act. `decision`: what is stored before it is acted on. `skip`: the step it skips."""

    key: str
    verb: str
    actor: str
    reason: str
    decision: Any = None
    skip: str = ""
    second_actor: str = ""
    before: View = field(default_factory=dict[str, Any])
    after: View = field(default_factory=dict[str, Any])
    answer: str | None = None

    @property
    def cancel(self) -> bool:
        return self.verb == "cancel"


@dataclass
class Inbox:
    """Each key is one act, however often and by however many doors it comes."""

    asked: dict[str, Intent] = field(default_factory=dict[str, Intent])
    waiting: list[Intent] = field(default_factory=list[Intent])
    taken: list[Intent] = field(default_factory=list[Intent])
    owed: list[Intent] = field(default_factory=list[Intent])  # answered, their audit row not yet written

    @classmethod
    def of(cls, answers: dict[str, str]) -> Inbox:
        """What an earlier run has answered stays answered."""
        return cls({key: Intent(key, "", "", "", answer=text) for key, text in answers.items()})

    @property
    def answers(self) -> dict[str, str]:
        return {key: intent.answer for key, intent in self.asked.items() if intent.answer is not None}

    @property
    def cancels(self) -> list[Intent]:
        return [intent for intent in self.waiting if intent.cancel]

    @property
    def idle(self) -> bool:
        """Nothing asked that is unanswered, nothing answered that is not on record."""
        return not self.owed and all(intent.answer is not None for intent in self.asked.values())

    def post(self, intent: Intent, view: View) -> Intent:
        """Ask for it, unless its key was asked before; the one intent of that key."""
        if intent.key not in self.asked:  # two people confirm the very same intent: it must not wait twice
            intent.before = view
            self.asked[intent.key] = intent
            self.waiting.append(intent)
        return self.asked[intent.key]

    async def answered(self, intent: Intent) -> str:
        """Wait until the main loop has tried."""
        await workflow.wait_condition(lambda: intent.answer is not None)
        return intent.answer or ""

    def take(self, *, cancels_too: bool = False) -> None:
        """Those waiting become the next try's; cancels stay where they are heeded."""
        self.taken += [intent for intent in self.waiting if cancels_too or not intent.cancel]
        self.waiting = [] if cancels_too else self.cancels

    def reply(self, text: str, view: View) -> None:
        """Answer those taken."""
        for intent in self.taken:
            self.close(intent, text, view)
        self.taken = []

    def close(self, intent: Intent, text: str, view: View) -> None:
        intent.answer, intent.after = text, {**view, "outcome": text}
        self.owed.append(intent)
