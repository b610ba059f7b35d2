"""The world of the fault tests, made once per module, and its stories, told together."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from db.engine import make_engine
from tests import cluster
from tests.faults import database_faults
from tests.faults.purchases import LIGHT_QUEUE
from tests.faults.together import Together, selected_cases
from tests.faults.world import World
from tests.gateways.process import ProviderProcess

AT_ONCE = 12


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    postgres: str,
    temporal: Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """A database of this module's own with the triggers, a provider, and one worker on the light queue."""
    home = tmp_path_factory.mktemp("faults")
    with cluster.database(postgres) as url:
        provider = ProviderProcess(home)
        provider.start()
        engine = make_engine(url, pool_size=30)
        database_faults.install(engine)
        world = World(engine, url, provider, temporal, home)
        world.worker(LIGHT_QUEUE, slots=16)
        try:
            yield world
        finally:
            world.close()
            provider.kill()
            engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def together(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Together]:
    """The module's stories, running."""
    stories = Together(selected_cases(request), world, AT_ONCE)
    yield stories
    await stories.stop()
