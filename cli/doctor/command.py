"""`coursaga doctor`: say what runs, what does not, and what to do about it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from cli.doctor import check, database, processes, temporal
from cli.doctor.check import Check
from cli.output import FAILED, FINE, UNREACHABLE, Json, Terminal, print_json
from runtime.settings import Settings, load_settings
from runtime.state import attached

_COLOURS = {check.FINE: "green", check.WRONG: "yellow", check.UNREACHABLE: "red"}


async def doctor(*, json: Json = False) -> int:
    """Check Python, PostgreSQL, its schema and outbox, Temporal, its search attributes and workers, the provider and the API.

    Exits with 0 when all is fine, 3 when a server is not reachable, else 1.
    """
    looked = await look(attached(load_settings()))
    states = {each.state for each in looked}
    if json:
        print_json({"ok": states == {check.FINE}, "checks": [each.report() for each in looked]})
    else:
        Terminal().print(_table(looked))
    return FINE if states == {check.FINE} else UNREACHABLE if check.UNREACHABLE in states else FAILED


async def look(settings: Settings) -> list[Check]:
    """Run every check, in the order in which things depend on each other; the settings are attached to the stack."""
    return [
        processes.python(),
        temporal.temporal_program(settings),
        *database.postgres(settings),
        *database.lessons(settings),
        *await temporal.temporal(settings),
        processes.provider(settings),
        processes.api(settings),
        processes.relay(settings),
    ]


def _table(looked: list[Check]) -> Table:
    table = Table("check", "state", "says", "what to do")
    for each in looked:
        table.add_row(
            each.name,
            Text(each.state, style=_COLOURS[each.state]),
            Text(each.says, overflow="fold"),
            Text(each.remedy),
        )
    return table
