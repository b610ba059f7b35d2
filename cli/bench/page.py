"""`docs/performance.md`, its picture and what both are made of, written by the bench from its last run of each part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.bench.goals import met
from cli.bench.picture import draw
from cli.bench.words import CPU, PAIRS, RATIOS, ROWS, SIDES_SAID, SIZES
from runtime.errors import CannotRun

DOCS = Path(__file__).parents[2] / "docs"
RESULTS, PAGE, PICTURE = "performance.json", "performance.md", "performance.svg"
_PARTS = ("peers", "growth", "enrolled", "parkedRuns")

_HEAD = """# Performance

What a purchase of {lessons} lessons costs, as `coursaga bench` measured it. Nobody typed these figures: the bench writes this page
and its picture from its last run of each part (`make bench BENCH_ARGS="--peers --write-docs"`; also `--growth`, `--enrolled 500`,
`--parked-runs 5000`), and a test holds both against [what it stored](performance.json). A machine that does something else
meanwhile gives other figures.
"""
_PEERS = """## Beside another engine, and beside none

Three do the same {steps} steps by the same activities, on one PostgreSQL, by turns: ours, which are workflows on Temporal; DBOS,
another engine, whose steps are remembered in a database of its own on the same server; and plain calls, which nothing remembers.
Each has as many threads and connections to the database, and {inFlight} purchases in flight. Ours is started by a client of
Temporal, without the API, as the others have none.

![Purchases per second, and the CPU of a purchase by process](performance.svg)
"""
_GROWTH = """## With much stored

The same purchases, bought with so many stored already, each with its slots, lessons, ledger and events; of ten starts seven were
refused. With the most stored one costs {cpuMsTotal:.2f} times the CPU of one with the fewest, and {p50AloneMs:.2f} times the time.
"""
_ENROLLED = """## From checkout to enrolled

{checkouts} students checked out through the API, {atOnce} at a time, each with a card that was confirmed in between. From when
the checkout was sent until the student was enrolled: p50 {p50Ms:,.0f} ms, p95 {p95Ms:,.0f} ms, {longestMs:,.0f} ms at most.
"""
_PARKED = """## Parked

{parked:,} purchases waited for a trainer at once.
"""


def write(report: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Keep what was measured beside what earlier runs measured of other parts, and write page and picture anew.

    Raises CannotRun where there is no documentation, as in an installed package.
    """
    if not docs.is_dir():
        raise CannotRun(f"there is no {docs}: --write-docs is for a clone of the repository")
    file = docs / RESULTS
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    measured = {"on": datetime.now(UTC).date().isoformat(), **report["machine"], **_asked(report)}
    for part in _PARTS:
        if part in report:
            results[part] = {**_of(part, report), "measured": measured}
    file.write_text(json.dumps(results, indent=2) + "\n")
    (docs / PAGE).write_text(render(results))
    if "peers" in results:
        (docs / PICTURE).write_text(draw(results["peers"]))


def render(results: Mapping[str, Any]) -> str:
    """Return the page that says these results."""
    lessons = next(iter(results.values()))["measured"]["lessonsEach"]
    says = {"peers": _peers, "growth": _growth, "enrolled": _enrolled, "parkedRuns": _parked}
    parts = [says[part](results[part]) + _measured(results[part]["measured"]) for part in _PARTS if part in results]
    asked = [
        [goal.what, f"{goal.bound} {goal.limit:g}", f"{value:,.2f}", "yes" if good else "**no**"]
        for goal, value, good in met(results)
    ]
    goals = _table(["", "asked", "measured", "as asked"], asked)
    return "\n".join([_HEAD.format(lessons=lessons), goals, *parts])


def _of(part: str, report: Mapping[str, Any]) -> dict[str, Any]:
    if part == "peers":
        return {"ratios": report["ratios"], "sides": report["peers"], "steps": report["steps"]}
    return dict(report[part])


def _asked(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in ("purchases", "inFlight", "lessonsEach")}


def _peers(peers: Mapping[str, Any]) -> str:
    sides = peers["sides"]
    ratios = [[RATIOS[figure], *(f"{told[pair]:.2f}" for pair in PAIRS)] for figure, told in peers["ratios"].items()]
    figures = [[words, *(_number(side[key]) for side in sides.values())] for key, words in ROWS.items()]
    names = [name for name in CPU if any(name in side["cpuMsPerPurchase"] for side in sides.values())]
    for name in names:
        figures.append([f"of {CPU[name]}", *(_number(side["cpuMsPerPurchase"].get(name)) for side in sides.values())])
    figures.append(["memory of its process at most, MB", *(_number(side["peakMb"]) for side in sides.values())])
    figures += [[words, _number(sides["temporal"][key]), "-", "-"] for key, words in SIZES.items()]
    said = _PEERS.format(steps=len(peers["steps"]), inFlight=peers["measured"]["inFlight"])
    compared = _table(["", *PAIRS.values()], ratios)
    return "\n".join([said, compared, _table(["", *(SIDES_SAID[side] for side in sides)], figures)])


def _growth(growth: Mapping[str, Any]) -> str:
    at = growth["at"]
    keys = {"lessons": "lessons stored", "starts": "starts stored", **ROWS}
    figures = [[words, *(_number(each[key]) for each in at)] for key, words in keys.items() if key in at[0]]
    head = ["purchases stored", *(f"{each['stored']:,}" for each in at)]
    return "\n".join([_GROWTH.format(**growth["times"]), _table(head, figures)])


def _enrolled(enrolled: Mapping[str, Any]) -> str:
    return _ENROLLED.format(**enrolled)


def _parked(parked: Mapping[str, Any]) -> str:
    done, waiting = parked["sizesDone"], parked["sizesParked"]
    figures = [
        ["seconds until all were parked", _number(parked["parkSeconds"])],
        ["memory of the worker before, MB", _number(parked["workerBeforeMb"])],
        ["with all parked, MB", _number(parked["workerParkedMb"])],
        ["started anew, MB", _number(parked["workerStartedMb"])],
        ["seconds from its start until it finished a purchase", _number(parked["startUpSeconds"])],
        ["seconds until all were woken, when trainers came", _number(parked["wakeSeconds"])],
        ["seconds until all had their lessons", _number(parked["doneSeconds"])],
        ["memory of the worker at most meanwhile, MB", _number(parked["workerPeakMb"])],
    ]
    for which, sizes in (("parked", waiting), ("done", done)):
        figures += [[f"{words}, {which}", _number(sizes[key])] for key, words in SIZES.items()]
    return "\n".join([_PARKED.format(**parked), _table(["", "measured"], figures)])


def _measured(measured: Mapping[str, Any]) -> str:
    return (
        f"\nMeasured on {measured['on']}: {measured['purchases']} purchases each way, {measured['cpus']} CPUs, load"
        f" {measured['loadBefore']:.1f} before it began, Python {measured['python']}.\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruled = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ruled, *rows)) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}".removesuffix(".0")
