"""What every test may ask for: a fresh migrated database, an engine on it, a provider in memory, a clock that stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from sqlalchemy import Engine

from db.engine import make_engine
from db.grants import WORKER
from tests import cluster
from tests.build import NOW
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of the PostgreSQL server of this test process; use `database_url` for a database of one's own."""
    with cluster.server() as url:
        yield url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """A fresh, migrated, empty database; its owner's URL."""
    with cluster.database(postgres) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on `database_url`, made as the worker makes its own and of its role; `tests.build` asks as the owner."""
    engine = make_engine(as_role(WORKER, database_url), pool_size=8, planned_once=True)
    yield engine
    engine.dispose()


@pytest.fixture
def fake_provider() -> FakeProvider:
    """The payment provider in memory; `tests.build.pay` puts payments there too."""
    return FakeProvider()


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """A clock that stands at `tests.build.NOW`."""
    return lambda: NOW
