"""What `coursaga bench` may be asked for: which parts, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number


def _count(text: str, most: int = 10_000) -> Parameter:
    return Parameter(help=text, validator=Number(gte=1, lte=most))


@Parameter(name="*")
@dataclass(frozen=True)
class Amounts:
    """How much of each; the defaults are for a machine that does nothing else."""

    purchases: Annotated[
        int, _count("How many to buy side by side, each way; before them up to 20 are bought one at a time.")
    ] = 300
    in_flight: Annotated[int, _count("How many at most are under way at a time.")] = 20
    parked: Annotated[int, _count("How many purchases wait for a trainer when the bulk act comes.")] = 200
    callers: Annotated[
        int, _count("How many students look at their purchases at once, each as fast as it is answered.")
    ] = 200
    seconds: Annotated[int, _count("For how long they do.")] = 60
    trainers: Annotated[int, _count("Among how many trainers one is looked for.")] = 5000
    rounds: Annotated[int, _count("With --peers: how many turns each of the three has.", 100)] = 3


@Parameter(name="*")
@dataclass(frozen=True)
class Parts:
    """The parts beside the usual ones; if any of them is asked for, the usual ones are left out."""

    peers: Annotated[
        bool,
        Parameter(
            negative=(),
            help="Compare three that do the same activities by turns: ours (workflows, started without the API), DBOS "
            "(another engine, the extra `bench`), and plain calls. Each has as many threads and connections to the "
            "database as purchases are in flight, 20 at most.",
        ),
    ] = False

    growth: Annotated[
        bool,
        Parameter(negative=(), help="What a purchase costs when few are stored and when very many are (--stored)."),
    ] = False
    stored: Annotated[
        list[int],
        Parameter(
            help="With --growth: how many purchases of 30 lessons are stored, in growing order; ten starts to three.",
            negative=(),
            consume_multiple=True,
        ),
    ] = field(default_factory=lambda: [1000, 30_000, 300_000])
    parked_runs: Annotated[
        int,
        Parameter(
            help="Park so many purchases, then start the worker anew and let trainers come: memory and times. 0: none.",
            validator=Number(gte=0, lte=50_000),
        ),
    ] = 0
    enrolled: Annotated[
        int,
        Parameter(
            help="Let so many students check out through the API: how long from there until they are enrolled. 0: none.",
            validator=Number(gte=0, lte=10_000),
        ),
    ] = 0

    write_docs: Annotated[
        bool,
        Parameter(negative=(), help="Write docs/performance.md and its picture anew from what these parts measured."),
    ] = False

    @property
    def any(self) -> bool:
        """Whether one of them is asked for."""
        return self.peers or self.growth or bool(self.parked_runs) or bool(self.enrolled)
