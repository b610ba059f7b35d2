"""`coursaga purchases watch`: show what waits for somebody and what is at work, live on a terminal."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from cli.api_client import Api, open_api
from cli.operators.acts import ADMIN
from cli.output import FINE, Json, Terminal, print_json

_MAX_RUNNING = "50"


async def watch(
    *,
    once: Annotated[bool, Parameter(negative=(), help="one look, then end")] = False,
    every: Annotated[float, Parameter(help="seconds between looks")] = 2.0,
    json: Json = False,
) -> int:
    """Watch parked and running purchases until Ctrl-C. Without a terminal: one look."""
    out = Terminal()
    async with open_api(patient=True) as api:
        seen = await _look(api)
        if json:
            print_json(seen)
        elif once or not out.is_terminal:
            out.print(table_of(seen))
        else:
            await _live(api, out, seen, max(every, 0.2))
    return FINE


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Return a table of these purchases in their order (parked ones come first), with the counts as its title."""
    parked = sum(row["ending"] == "attention" for row in rows)
    now = datetime.now(UTC).strftime("%H:%M:%S")
    table = Table("purchase", "student", "stage", "waits for", "since", "next try", "what to do")
    table.title = f"{parked} need attention, {len(rows) - parked} at work ({now} UTC)"
    for row in rows:
        cells = (row[name] for name in ("workflowId", "studentId", "stage", "code", "since", "nextRetry", "nextAction"))
        shown = [escape(str(cell)) if cell else "" for cell in cells]
        table.add_row(*shown[:6], "needs an engineer" if row["problems"] else shown[6])
    return table


async def _look(api: Api) -> list[dict[str, Any]]:
    parked = [row async for row in api.pages(ADMIN, {"ending": "attention"}, "purchases", "nextCursor", "cursor")]
    running = await api.get(ADMIN, {"ending": "running", "limit": _MAX_RUNNING})
    return [*parked, *running["purchases"]]


async def _live(api: Api, out: Console, seen: list[dict[str, Any]], every: float) -> None:
    with Live(table_of(seen), console=out, auto_refresh=False) as screen:
        try:
            while True:
                await asyncio.sleep(every)
                screen.update(table_of(await _look(api)), refresh=True)
        except (KeyboardInterrupt, asyncio.CancelledError):
            return  # Ctrl-C is how it ends
