"""Servers shared by tests: one Temporal dev server per test process, or the one at TEMPORAL_ADDRESS."""

from __future__ import annotations

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

from runtime.embedded.temporal_server import TemporalServer
from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes

_DYNAMIC = {"history.transferProcessorUpdateAckInterval": "0.5s"}  # a run that is deleted goes then, not in 30 s
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
