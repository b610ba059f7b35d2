"""Show one purchase on a terminal: what was done, what it waits for, what to do."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.output import Terminal

COLOURS = {"completed": "green", "attention": "yellow", "running": "cyan"}


def tell(purchase: dict[str, Any], console: Console | None = None) -> None:
    """Print the answer of `GET /api/v1/purchases/{id}` for people."""
    out = console or Terminal()
    tell_head(purchase, out)
    tell_facts(_facts(purchase), out)
    steps = Table("step", "state", "at (UTC)")
    for step in purchase["steps"]:
        steps.add_row(step["step"], step["state"], step["at"])
    if purchase["steps"]:
        out.print(steps)


def tell_head(told: dict[str, Any], out: Console) -> None:
    """Print which purchase it is, and its state."""
    colour = COLOURS.get(told["ending"], "red")
    code = f" ({told['code']})" if told["code"] else ""
    out.print(f"[bold]{escape(told['workflowId'])}[/]  [{colour}]{told['ending']}{code}[/]", highlight=False)


def tell_facts(facts: dict[str, Any], out: Console) -> None:
    """Print one line for each fact that is not None."""
    for name, value in facts.items():
        if value is not None:
            out.print(f"  {name}: {escape(str(value))}", highlight=False, soft_wrap=True)


def gives_up(told: dict[str, Any]) -> str | None:
    """Return when the purchase ends by itself and what becomes of the money, or None if it does not."""
    money = "the money goes back" if told["ending"] == "attention" else "the payment is cancelled"
    return f"{told['givesUp']}, and {money}" if told["givesUp"] else None


def _facts(purchase: dict[str, Any]) -> dict[str, Any]:
    sessions, trainer, waits = purchase["sessions"], purchase["trainer"], purchase["attention"]
    lessons = None
    if sessions["count"]:
        when = f"{sessions['firstLocal']} to {sessions['lastLocal']} {sessions['timezone']}"
        lessons = f"{sessions['count']} of {purchase['sessionCount']}, {when}"
    return {
        "id": purchase["id"],
        "student": purchase["studentId"],
        "item": purchase["item"]["itemId"] if purchase["item"] else None,
        "trainer": f"{trainer['name']} ({trainer['status']})" if trainer else None,
        "lessons": lessons,
        "test cards": purchase["testCards"] or None,
        "still to come": purchase["remaining"] or None,
        "access": _access(purchase["access"]),
        "renewed": " > ".join(each["workflowId"] for each in purchase["renewals"])
        if purchase["renewals"][1:]
        else None,
        "refunded": purchase["refunded"],
        "stage": purchase["stage"],
        "waits since": waits["since"] if waits else None,
        "next try": purchase["nextRetry"],
        "gives up": gives_up(purchase),
        "what to do": waits["nextAction"] if waits else None,
        "workers": purchase["worker"] if purchase["worker"] != "up" and purchase["endedAt"] is None else None,
    }


def _access(access: dict[str, Any] | None) -> str | None:
    """Return until when access lasts, in words; None where it does not end."""
    if access is None or access["until"] is None:
        return None
    ended = "" if access["expiredAt"] is None else ", which is over"
    after = f"; lessons after it: {', '.join(map(str, access['lessonsAfter']))}" if access["lessonsAfter"] else ""
    return f"until {access['until']}{ended}{after}"
