"""A chapter of the demo: one purchase as the story and the screen share it, and the plain words for its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cli.demo.timeline import Happening

Json = dict[str, Any]

# In the telling, on the way there, and when there was nothing to undo.
_WORDS = {
    "confirm_payment": "payment confirmed",
    "create_purchase": "purchase recorded",
    "enroll": "student enrolled",
    "assign_trainer": "trainer found and held",
    "approve_allocation": "trainer approved",
    "create_sessions": "lessons created",
    "clear_cart": "cart cleared",
    "refund_payment": "money given back",
    "void_purchase": "purchase record voided",
}
_NOTHING = {
    "refund_payment": "nothing was paid",
    "void_purchase": "nothing recorded",
}
# On every way, and of no interest to a newcomer; Temporal UI and --json have them.
_ASIDE = frozenset({"announce", "decide", "record_act"})


@dataclass(frozen=True)
class Fact:
    """Something worth knowing beside the steps, in plain words."""

    label: str
    text: str


@dataclass
class Chapter:
    """One purchase of the demo. `status`: buying, running, needs attention, completed, refused and made whole.
    `purchase`: the API's last answer; `payment`: the marketplace file's; `link`: the workflow in Temporal UI, if
    there is one."""

    number: int
    title: str
    payment: Json
    workflow_id: str
    link: str | None = None
    status: str = "buying"
    purchase: Json = field(default_factory=dict[str, Any])
    happenings: list[Happening] = field(default_factory=list[Happening])
    facts: list[Fact] = field(default_factory=list[Fact])
    extra: Json = field(default_factory=dict[str, Any])

    @property
    def told(self) -> list[Happening]:
        """The happenings to show: all but those of no interest to a newcomer, and undos of what never happened."""
        return [one for one in self.happenings if one.activity not in _ASIDE and not _undid_nothing(one)]

    def fact(self, label: str, text: str) -> None:
        """Add a fact."""
        self.facts.append(Fact(label, text))

    def report(self) -> Json:
        """Return the chapter as `--json` prints it: the API's answer with what the demo saw besides."""
        return {
            "number": self.number,
            "title": self.title,
            "amountMinor": self.payment["amountMinor"],
            "currency": self.payment["currency"],
            "link": self.link,
            **self.purchase,
            "undos": [one.activity for one in self.told if one.state == "undone"],
            "happenings": [one.report() for one in self.happenings],
            **self.extra,
        }


def _undid_nothing(one: Happening) -> bool:
    return one.state == "undone" and not one.result.get("changed") and one.activity not in _NOTHING


def words(one: Happening) -> str:
    """Return what happened in plain words, for somebody who sees it for the first time."""
    if one.state == "refused":
        return f"refused: {one.code}"
    if one.state == "trouble":
        return f"{one.activity}: trouble, tried again"
    if one.state == "running":
        return f"{one.activity.replace('_', ' ')} ..."
    if one.state == "undone":
        told = _WORDS if one.result.get("changed") else _NOTHING
        return f"undo: {told.get(one.activity, one.activity.replace('_', ' '))}"
    if one.activity == "create_sessions":
        return f"{one.result.get('created', 0)} lessons created"
    return _WORDS.get(one.activity, one.activity.replace("_", " "))


def money(amount_minor: int, currency: str) -> str:
    """Format an amount as `400.00 GBP`; the demo's currencies all have two decimals."""
    return f"{amount_minor / 100:,.2f} {currency}"


def clock_time(at: datetime) -> str:
    """Format a UTC moment as `18:03:07.123`."""
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"


def wall_time(text: str) -> str:
    """Format the API's `2027-01-04T18:00` as `Mon 4 Jan 2027, 18:00`."""
    at = datetime.fromisoformat(text)
    return f"{at:%a} {at.day} {at:%b %Y, %H:%M}"
