"""`coursaga doctor`: what runs, what does not, and what to do about it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from cli.output import FAILED, FINE, UNREACHABLE, Json, Terminal, print_json
from runtime import checks
from runtime.checks import Check
from runtime.settings import load_settings
from runtime.state import attached

_COLOURS = {checks.FINE: "green", checks.WRONG: "yellow", checks.UNREACHABLE: "red"}


async def doctor(*, json: Json = False) -> int:
    """Check Python, PostgreSQL, its schema and outbox, Temporal, its search attributes and workers, the provider and the API.

    Exits with 0 when all is fine, 3 when a server is not reachable, else 1.
    """
    looked = await checks.all_checks(attached(load_settings()))
    states = {check.state for check in looked}
    if json:
        print_json({"ok": states == {checks.FINE}, "checks": [check.report() for check in looked]})
    else:
        Terminal().print(_table(looked))
    return FINE if states == {checks.FINE} else UNREACHABLE if checks.UNREACHABLE in states else FAILED


def _table(looked: list[Check]) -> Table:
    table = Table("check", "state", "says", "what to do")
    for check in looked:
        table.add_row(
            check.name,
            Text(check.state, style=_COLOURS[check.state]),
            Text(check.says, overflow="fold"),
            Text(check.remedy),
        )
    return table
