"""Show a case file on a terminal: why the purchase waits, what to do, the money, what happened."""

from __future__ import annotations

import json as json_text
import shlex
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.operators.purchase_view import gives_up, tell_facts, tell_head
from cli.output import Terminal
from domain.money import amount

_COMMANDS = {"approve_allocation": "approve"}
_SIGNED = ("reason", "requestKey")
_OPTIONS = {"trainerId": "--trainer", "startDate": "--start-date", "timeSlot": "--time-slot"}


def tell_case(case: dict[str, Any], console: Console | None = None) -> None:
    """Print the answer of `GET .../{id}/case` for people."""
    out = console or Terminal()
    tell_head(case, out)
    out.print(escape(case["cause"]), highlight=False, soft_wrap=True)
    tell_facts(_facts(case), out)
    for action in case["actions"]:
        out.print(f"  - {escape(action['why'])}", highlight=False, soft_wrap=True)
        out.print(f"      {escape(command_of(case['workflowId'], action))}", highlight=False, soft_wrap=True)
    happened = Table("at (UTC)", "what happened")
    for entry in case["timeline"]:
        happened.add_row(entry["at"], escape(entry["what"]))
    out.print(happened)


def command_of(workflow_id: str, action: dict[str, Any]) -> str:
    """Return the command line that sends an action of a case file."""
    verb, body = str(action["verb"]), action["body"]
    if verb == "start_again":
        return shlex.join(["coursaga", "purchases", "start", workflow_id])
    words: list[str] = ["coursaga", "purchases", _COMMANDS.get(verb, verb.replace("_", "-")), workflow_id]
    for name, value in body.items():
        if name == "changes":
            for key, text in value.items():
                words += ["--set", f"{key}={text if isinstance(text, str) else json_text.dumps(text)}"]
        elif name == "overrides":
            for key, text in value.items():
                words += [_OPTIONS.get(key, f"--{key}"), str(text)]
        elif name not in _SIGNED:
            words += [_OPTIONS.get(name, f"--{name}"), str(value)]
    return shlex.join([*words, "--reason", "..."])


def _coins(money: dict[str, Any]) -> str:
    return f"costs {money['coins']}, redeemed {money['coinsRedeemed']}, given back {money['coinsGivenBack']}"


def _shown(money: dict[str, Any], what: str) -> str:
    return amount(money[what], money["currency"])


def _facts(case: dict[str, Any]) -> dict[str, Any]:
    money, lessons = case["money"], case["lessons"]
    paid = money and f"paid {_shown(money, 'paid')}, refunded {_shown(money, 'refunded')}"
    if money and money["givenBackAtProvider"] > money["refunded"]:
        paid += f"; at the provider {_shown(money, 'givenBackAtProvider')} were given back"
    planned = f"{lessons['count']} of {lessons['of']}" if lessons["of"] else None
    when = f", {lessons['first']} to {lessons['last']} {lessons['timezone']}" if lessons["first"] else ""
    return {
        "student": case["studentId"],
        "tell the student": case["student"],
        "item": case["item"],
        "since": case["since"],
        "next try by itself": case["nextRetry"],
        "gives up": gives_up(case),
        "what to do": case["nextAction"],
        "waits for a second person": case["secondPerson"],
        "needs an engineer": ", ".join(case["problems"]) or None,
        "money": paid and f"{paid} ({money['status']})",
        "coins": _coins(money) if money and money["coins"] else None,
        "lessons": planned and planned + when,
        "closed days": "; ".join(lessons["closed"]) or None,
        "skipped": ", ".join(case["skipped"]) or None,
        "workers": case["worker"] if case["worker"] != "up" else None,
        "Temporal UI": case["links"]["temporalUi"],
    }
