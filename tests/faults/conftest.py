"""The world of the fault tests, made once per module, and its stories, told together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client

from db.engine import make_engine
from db.grants import WORKER
from db.migrate import upgrade
from runtime.embedded.postgres import EmbeddedPostgres, wipe_postgres
from runtime.embedded.temporal_server import TemporalServer
from runtime.settings import Settings
from runtime.temporal import connect_to
from tests import cluster
from tests.faults import database_faults
from tests.faults.purchases import LIGHT_QUEUE
from tests.faults.site import Site
from tests.faults.together import Together, selected_cases
from tests.faults.world import TODAY, World
from tests.gateways.process import ProviderProcess
from tests.roles import as_role

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
        world = World(engine, as_role(WORKER, url), provider, temporal, home)
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


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the servers keep their data; PostgreSQL's account has to pass through, so it is none of pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="coursaga-outages-"))
    folder.chmod(0o755)
    yield folder
    wipe_postgres(folder)
    shutil.rmtree(folder)


@pytest_asyncio.fixture(loop_scope="session")
async def site(folder: Path) -> AsyncIterator[Site]:
    """PostgreSQL that syncs to its disk, Temporal on its file, the provider's process."""
    with ExitStack() as running:
        postgres, temporal, provider = EmbeddedPostgres(folder), TemporalServer(folder), ProviderProcess(folder)
        for server in (postgres, temporal, provider):
            running.callback(server.stop)
            server.start()
        upgrade(postgres.url)
        engine = make_engine(postgres.url, pool_size=5)
        running.callback(engine.dispose)
        settings = Settings.model_validate(
            {
                "database_url": postgres.url,
                "temporal_address": temporal.address,
                "provider_url": provider.url,
                "coursaga_today": TODAY,
            }
        )
        client = await connect_to(temporal.address, settings.temporal_namespace)
        yield Site(postgres, temporal, settings, World(engine, postgres.url, provider, client, folder), folder)
