"""Servers shared by tests: one Temporal dev server per test process, or the one at TEMPORAL_ADDRESS."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client

from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes
from runtime.temporal_server import TemporalServer


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if given := os.environ.get("TEMPORAL_ADDRESS"):
        yield given
        return
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@contextmanager
def temporal_server(home: Path, dynamic: Mapping[str, int] | None = None) -> Iterator[str]:
    """A dev server of the test's own, with `dynamic` settings beside the usual, gone afterwards."""
    server = TemporalServer(home, dynamic=dynamic)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal(temporal_address: str) -> AsyncIterator[Client]:
    client = await connect(Settings(temporal_address=temporal_address))
    await ensure_search_attributes(client)
    yield client
