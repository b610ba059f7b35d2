"""What the bench measures: times, and the CPU and memory of processes as Linux counts them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timed:
    """How long each of several purchases (or reads) took, and how long all of them together took, in seconds."""

    each: list[float]
    whole: float

    def per_second(self) -> float:
        """Return how many completed per second."""
        return round(len(self.each) / self.whole, 2)

    def ms(self, part: float) -> float:
        """Return what this share of them, 0.5 or 0.99, took at most, in milliseconds (nearest rank)."""
        ranked = sorted(self.each)
        return round(ranked[math.ceil(part * len(ranked)) - 1] * 1000, 1)


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU time so far by name, child processes included.

    Processes that cannot be read, as outside Linux, are left out.
    """
    seconds: dict[str, float] = {}
    for name, pid in pids.items():
        try:
            seconds[name] = _own(pid) + sum(_own(child) for child in _children(pid))
        except OSError:
            continue
    return seconds


def cpu_ms_each(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, float]:
    """Return the CPU milliseconds per purchase between two readings, by name."""
    return {name: round((after[name] - before[name]) * 1000 / count, 1) for name in before if name in after}


def peak_memory_mb(pid: int) -> float | None:
    """Return the most memory this process ever held (RSS, in 10^6 bytes), None where the kernel does not say."""
    return _memory_mb(pid, "VmHWM:")


def memory_mb(pid: int) -> float | None:
    """Return the memory this process holds now (RSS, in 10^6 bytes), None where the kernel does not say."""
    return _memory_mb(pid, "VmRSS:")


def average(numbers: Sequence[float]) -> float:
    """Return the mean, rounded to one decimal."""
    return round(sum(numbers) / len(numbers), 1)


def _memory_mb(pid: int, which: str) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    told = [int(line.split()[1]) for line in lines if line.startswith(which)]
    return round(told[0] * 1024 / 1e6, 1) if told else None


def _own(pid: int) -> float:
    """Return the CPU seconds of the process and of children it has waited for: PostgreSQL's connections come and go."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> Iterable[int]:
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
