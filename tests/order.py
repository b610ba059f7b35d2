"""In which order tests run, and which of them in one process."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

LONG = ("e2e", "faults", "events", "runtime", "temporal", "cli", "api")  # rooms whose tests take long
ONE_STACK = "tests/e2e/one_stack"


def unit_of(nodeid: str) -> str:
    """What is given to one process as a whole: a module; of those that share a stack, their folder."""
    module = nodeid.partition("::")[0]
    return ONE_STACK if module.startswith(ONE_STACK) else module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms whose tests take long come first, by turns, so that those that wait run beside those that compute.

    Many short ones are left for whichever process is done with its own.
    """
    units: dict[str, dict[str, int]] = {room: {} for room in LONG}  # by room, each with its turn
    last = len(items)

    def turn(item: pytest.Item) -> tuple[int, int]:
        unit = unit_of(item.nodeid)
        room = unit.split("/")[1]
        if room not in units:
            return last, 0
        return units[room].setdefault(unit, len(units[room])), LONG.index(room)

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """What is there now stays to the end: thousands of tests, and all they import. The collector need not read it again."""
    gc.collect()
    gc.freeze()


class ByUnit(LoadScopeScheduling):
    """Gives units to processes."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByUnit:
    return ByUnit(config, log)
