"""Show the parts of the bench that are asked for by name: what they compare comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from cli.bench.peers import SIDES
from cli.output import Terminal

_NAMES = {"temporal": "ours", "dbos": "DBOS", "plain": "plain calls"}
_RATIOS = {
    "perSecond": "purchases per second",
    "p50AloneMs": "p50 one at a time",
    "cpuMsTotal": "CPU of a purchase",
}
_PAIRS = {"oursToDbos": "ours / DBOS", "oursToPlain": "ours / plain", "dbosToPlain": "DBOS / plain"}
_ROWS = {
    "perSecond": "purchases per second",
    "p50AloneMs": "p50 one at a time, ms",
    "p50Ms": "p50, ms",
    "p95Ms": "p95, ms",
    "p99Ms": "p99, ms",
    "cpuMsTotal": "CPU of a purchase, ms",
}
_PEERS = """\
{steps} steps, {lessonsEach} lessons, {purchases} purchases each, {inFlight} in flight, {cpus} CPUs, load {loadBefore:.1f} \
before, Python {python}.
The three took turns on one stack, with as many threads and connections to the database each. A purchase is timed until \
the database told of its ending. No API: ours was started by a client of Temporal, as a door does it.
"idle" is the CPU of the processes that had no turn; the total is without it."""


def tell_parts(report: dict[str, Any]) -> None:
    """Print the figures of the parts that were measured, ratios first."""
    if "peers" in report:
        _tell_peers(report)


def _tell_peers(report: dict[str, Any]) -> None:
    console = Terminal()
    first = _table("ratios", *_PAIRS.values())
    for figure, told in report["ratios"].items():
        first.add_row(_RATIOS[figure], *(f"{told[pair]:.2f}" for pair in _PAIRS))
    console.print(first)
    console.print(_figures(report["peers"]))
    facts = {**report, **report["machine"], "steps": len(report["steps"])}
    console.print(_PEERS.format(**facts), markup=False, highlight=False, soft_wrap=True)


def _figures(peers: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("purchases", *(_NAMES[side] for side in SIDES))
    for key, words in _ROWS.items():
        table.add_row(words, *(_number(peers[side][key]) for side in SIDES))
    names = dict.fromkeys(name for side in SIDES for name in peers[side]["cpuMsPerPurchase"])
    for name in sorted(names, key=lambda name: name == "idle"):
        table.add_row(f"  of {name}", *(_number(peers[side]["cpuMsPerPurchase"].get(name)) for side in SIDES))
    table.add_row("its process, peak MB", *(_number(peers[side]["peakMb"]) for side in SIDES))
    table.add_row("history events", _number(peers["temporal"]["historyEvents"]), "-", "-")
    table.add_row("history bytes", _number(peers["temporal"]["historyBytes"]), "-", "-")
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(first, *columns, box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
