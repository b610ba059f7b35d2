"""What is asked of the figures, and whether they are so: of a course of 30 lessons, 20 in flight, the real activities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_AT_LEAST, _AT_MOST = "at least", "at most"


@dataclass(frozen=True)
class Goal:
    """A figure, where it lies in the results, and its limit."""

    what: str
    path: tuple[str, ...]
    bound: str
    limit: float


GOALS = (
    Goal("purchases per second, ours / DBOS", ("peers", "ratios", "perSecond", "oursToDbos"), _AT_LEAST, 1.0),
    Goal("purchases per second, ours / plain", ("peers", "ratios", "perSecond", "oursToPlain"), _AT_LEAST, 0.45),
    Goal("p50 one at a time, ours / DBOS", ("peers", "ratios", "p50AloneMs", "oursToDbos"), _AT_MOST, 1.2),
    Goal("CPU of a purchase, most stored / fewest", ("growth", "times", "cpuMsTotal"), _AT_MOST, 1.2),
    Goal("memory of the worker, MB", ("peers", "sides", "temporal", "peakMb"), _AT_MOST, 200.0),
    Goal("memory of the worker with all parked, MB", ("parkedRuns", "workerParkedMb"), _AT_MOST, 200.0),
)


def met(results: Mapping[str, Any]) -> list[tuple[Goal, float, bool]]:
    """Return each goal that these results say something of, with the figure and whether it is as asked."""
    told: list[tuple[Goal, float, bool]] = []
    for goal in GOALS:
        value = _at(results, goal.path)
        if value is not None:
            told.append((goal, value, value >= goal.limit if goal.bound == _AT_LEAST else value <= goal.limit))
    return told


def _at(results: Any, path: tuple[str, ...]) -> float | None:
    """Return what lies at the path, None where there is nothing."""
    for key in path:
        if results is None or key not in results:
            return None
        results = results[key]
    return results
