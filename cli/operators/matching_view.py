"""Show a matching on a terminal: why this trainer was chosen, and why not each other one."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from cli.output import Terminal

_COLOURS = {"held": "green", "refused": "yellow", "let_go": "yellow", "open": "cyan"}


def tell_matching(matching: dict[str, Any], console: Console | None = None) -> None:
    """Print the answer of `GET .../{id}/matching` for people."""
    out = console or Terminal()

    def line(text: str) -> None:
        out.print(escape(text), highlight=False, soft_wrap=True)

    outcome = matching["outcome"]
    out.print(f"[bold]{escape(matching['workflowId'])}[/]  [{_COLOURS[outcome]}]{outcome}[/]", highlight=False)
    line(matching["answer"])
    if held := matching["held"]:
        line(f"decided {held['decidedAt']} ({held['decidedBy']}). {held['became']}")
        _others(held, line)
    if refused := matching["refused"]:
        if held:
            line(f"before: {refused['why']}")
        line(f"found {refused['since']} ({refused['code']})")
        _others(refused, line)
    for match in matching["earlier"]:
        line(f"earlier, {match['decidedAt']} ({match['decidedBy']}): {match['why']} {match['became']}")
        _others(match, line)


def _others(look: dict[str, Any], line: Any) -> None:
    others = [candidate for candidate in look["candidates"] if not candidate["chosen"]]
    for candidate in others:
        line(f"  - {candidate['why']}")
    more = look["candidateCount"] - len(look["candidates"])
    if more > 0:
        line(f"  and {more} more; ask about one with --trainer")
