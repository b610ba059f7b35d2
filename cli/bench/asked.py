"""What `coursaga bench` may be asked for: which parts, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass
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

    @property
    def any(self) -> bool:
        """Whether one of them is asked for."""
        return self.peers
