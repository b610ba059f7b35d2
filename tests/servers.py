"""Servers shared by tests: one Temporal dev server per test process, or the one at TEMPORAL_ADDRESS."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.worker._workflow import _WorkflowWorker
from xdist.scheduler import LoadScopeScheduling

from runtime.embedded.temporal_server import TemporalServer
from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes

_DYNAMIC = {"history.transferProcessorUpdateAckInterval": "0.5s"}  # a run that is deleted goes then, not in 30 s
LONG = ("e2e", "faults", "events", "runtime", "temporal", "cli", "api")
ONE_STACK = "tests/e2e/one_stack"
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30  # bytes; what all servers of a run may need at once, twice


def pytest_configure() -> None:
    """The servers' files are in memory where there is room: a database is made in 20 ms, on a disk in up to 400."""
    if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        tempfile.tempdir = os.environ["TMPDIR"] = str(_MEMORY)  # of the processes that tests start, too
    _be_patient()


def _be_patient() -> None:
    """In a test process that has told a thousand tests a full collection of garbage may take longer than the 2 s after
    which the SDK takes a workflow task for deadlocked, fails it and interrupts its thread wherever that is."""
    make = _WorkflowWorker.__init__

    def patient(self: _WorkflowWorker, *given: Any, **named: Any) -> None:
        make(self, *given, **named)
        assert self._deadlock_timeout_seconds == 2
        self._deadlock_timeout_seconds = 30

    _WorkflowWorker.__init__ = patient


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


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByUnit:
    return ByUnit(config, log)


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if given := os.environ.get("TEMPORAL_ADDRESS"):
        yield given
        return
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@contextmanager
def temporal_server(home: Path, dynamic: Mapping[str, object] | None = None) -> Iterator[str]:
    """A dev server of the test's own, with `dynamic` settings beside the usual, gone afterwards."""
    server = TemporalServer(home, dynamic={**_DYNAMIC, **(dynamic or {})})
    try:
        yield server.start()
    finally:
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal(temporal_address: str) -> AsyncIterator[Client]:
    client = await connect(Settings(temporal_address=temporal_address))
    await ensure_search_attributes(client)
    yield client
