"""Show the parts of the bench that are asked for by name: what they compare comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from cli.bench.peers import SIDES
from cli.bench.words import CPU, PAIRS, RATIOS, ROWS, SIDES_SAID, SIZES
from cli.output import Terminal

_PEERS = """\
{steps} steps, {lessonsEach} lessons, {purchases} purchases each, {inFlight} in flight, {cpus} CPUs, load {loadBefore:.1f} \
before, Python {python}.
The three took turns on one stack, with as many threads and connections to the database each. A purchase is timed until \
the database told of its ending. No API: ours was started by a client of Temporal, as a door does it."""

_GROWTH = """\
With the most stored, one costs {cpuMsTotal:.2f} times the CPU and takes {p50AloneMs:.2f} times as long alone as with the fewest."""
_ENROLLED = """\
{checkouts} students checked out through the API, {atOnce} at a time: enrolled within {p50Ms:.0f} ms (p50), {p95Ms:.0f} ms (p95), \
{longestMs:.0f} ms at most, from when the checkout was sent; the card was confirmed in between."""
_PARKED = """\
{parked} purchases parked in {parkSeconds:.1f} s: the worker held {workerBeforeMb} MB before, {workerParkedMb} MB with all of them \
parked, {workerStartedMb} MB started anew, {workerPeakMb} MB at most after that. Started anew, it finished a purchase after \
{startUpSeconds:.1f} s. When trainers came, {woken} were woken in {wakeSeconds:.1f} s, and all had their lessons after \
{doneSeconds:.1f} s. A history: {sizesParked[historyEvents]:.0f} events and {sizesParked[historyBytes]:,.0f} bytes parked, \
{sizesDone[historyEvents]:.0f} and {sizesDone[historyBytes]:,.0f} done."""


def tell_parts(report: dict[str, Any]) -> None:
    """Print the figures of the parts that were measured, ratios first."""
    if "peers" in report:
        _tell_peers(report)
    if "growth" in report:
        _tell_growth(report["growth"])
    for part, words in (("enrolled", _ENROLLED), ("parkedRuns", _PARKED)):
        if part in report:
            Terminal().print(words.format(**report[part]), markup=False, highlight=False, soft_wrap=True)


def _tell_peers(report: dict[str, Any]) -> None:
    console = Terminal()
    first = _table("ratios", *PAIRS.values())
    for figure, told in report["ratios"].items():
        first.add_row(RATIOS[figure], *(f"{told[pair]:.2f}" for pair in PAIRS))
    console.print(first)
    console.print(_figures(report["peers"]))
    facts = {**report, **report["machine"], "steps": len(report["steps"])}
    console.print(_PEERS.format(**facts), markup=False, highlight=False, soft_wrap=True)


def _tell_growth(growth: Mapping[str, Any]) -> None:
    table = _table("stored purchases", *(f"{at['stored']:,}" for at in growth["at"]))
    for key, words in {"lessons": "lessons stored", "starts": "starts stored", **ROWS}.items():
        if key in growth["at"][0]:
            table.add_row(words, *(_number(at[key]) for at in growth["at"]))
    console = Terminal()
    console.print(table)
    console.print(_GROWTH.format(**growth["times"]), markup=False, highlight=False, soft_wrap=True)


def _figures(peers: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table("purchases", *(SIDES_SAID[side] for side in SIDES))
    for key, words in ROWS.items():
        table.add_row(words, *(_number(peers[side][key]) for side in SIDES))
    for name, words in CPU.items():
        if any(name in peers[side]["cpuMsPerPurchase"] for side in SIDES):
            table.add_row(f"  of {words}", *(_number(peers[side]["cpuMsPerPurchase"].get(name)) for side in SIDES))
    table.add_row("its process, peak MB", *(_number(peers[side]["peakMb"]) for side in SIDES))
    for key, words in SIZES.items():
        table.add_row(words, _number(peers["temporal"][key]), "-", "-")
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(first, *columns, box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
