"""Show the bench: what it does meanwhile on stderr, and its figures as a table."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.bench.measure import Watched
from cli.output import Terminal, to_people

_CPU = {
    "worker": "worker",
    "caller": "the calling process",
    "api": "API",
    "temporal": "Temporal server",
    "postgres": "PostgreSQL",
    "provider": "stand-in provider",
}
_MANY = {"perSecond": "purchases per second", "p50Ms": "p50, ms", "p99Ms": "p99, ms"}
_EACH = {"sqlRoundTrips": "SQL round trips", "historyEvents": "history events", "historyBytes": "history bytes"}
_NOTES = """\
Each purchase is {lessonsEach} lessons by {activities} activities. {cpus} CPUs, load {loadBefore:.1f} before, \
Python {python}.
Times through Temporal are those of the rows in purchase_starts: started_at, written by the POST, to ended_at.
Plain calls: the same activities in the same order in threads of one process; no API, no workflow, no retry.
SQL round trips (statements, BEGIN, COMMIT) are counted there, one purchase at a time.
CPU is the kernel's count while purchases were in flight; PostgreSQL's includes the API's reads and the bench's looks.
Worker memory is its peak. "-": does not apply, or this system does not tell."""


_BULK = """\
One verb for {matched} parked purchases: {done} done; p95 of others' reads {readsP95Ms:.1f} ms before, \
{readsMeanwhileP95Ms:.1f} ms meanwhile ({times:.2f} times)."""


_LOAD = """\
{callers} students at once for {seconds} s, each of whom comes again when told to: {served} reads served, p95 \
{servedP95Ms:.1f} ms ({times:.2f} times that of one alone), {refused} refused early, {failed} failed, nobody waited longer \
than {longestMs:.0f} ms; asked {readyAsked} times whether it is ready, it failed {readyFailed} times and took \
{readyLongestMs:.0f} ms at most."""


_MATCHING = """\
Matching among {trainers} trainers with {slotsEach} slots each, query and reading its rows: of a course that {rows} of them teach \
p50 {p50Ms:.1f} ms, p95 {p95Ms:.1f} ms (for home lessons {homeP95Ms:.1f} ms), then the choice {choiceMs:.1f} ms; \
of one that all {allRows} teach p50 {allP50Ms:.1f} ms, p95 {allP95Ms:.1f} ms, then the choice {allChoiceMs:.1f} ms."""


@contextmanager
def watching(purchases: int) -> Generator[Watched]:
    """Yield callbacks that show progress: a bar on a terminal, one line per phase anywhere else."""
    console = to_people()
    if not console.is_terminal:
        yield Watched(lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True), lambda: None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=purchases)
        yield Watched(
            lambda text: progress.update(bar, description=text.replace("[", r"\[")), lambda: progress.advance(bar)
        )


def tell(report: dict[str, Any]) -> None:
    """Print the figures, and how each was measured."""
    temporal, plain, machine = report["temporal"], report["plain"], report["machine"]
    console = Terminal()
    table = Table("purchases", "", "through Temporal", "plain calls", box=box.SIMPLE_HEAD)
    for column in table.columns[2:]:
        column.justify = "right"

    def rows(what: str, figures: Mapping[str, str], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        for key, unit in figures.items():
            if key in ours or key in theirs:
                table.add_row(what, unit, _number(ours.get(key)), _number(theirs.get(key)))
                what = ""
        table.add_section()

    rows(f"{report['purchases']}, {report['inFlight']} in flight", _MANY, temporal, plain)
    rows(f"{report['alone']}, one at a time", {"aloneP50Ms": "p50, ms"}, temporal, plain)
    rows("CPU of each, ms", _CPU, temporal["cpuMs"], plain["cpuMs"])
    rows("each", _EACH, temporal, plain)
    rows("all", {"workerPeakMb": "worker memory, MB"}, temporal, plain)
    console.print(table)
    bulk = report["bulk"]
    console.print(_BULK.format(**bulk), markup=False, highlight=False, soft_wrap=True)
    console.print(_LOAD.format(**report["load"]), markup=False, highlight=False, soft_wrap=True)
    console.print(_MATCHING.format(**report["matching"]), markup=False, highlight=False, soft_wrap=True)
    facts = {**report, **machine, "activities": len(report["activities"])}
    console.print(_NOTES.format(**facts), markup=False, highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
