from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.payments import HttpPaymentProvider
from tests.gateways.process import ProviderProcess


@pytest.fixture(scope="module")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    """One process for the tests of a module; each test uses payments of its own."""
    process = ProviderProcess(tmp_path_factory.mktemp("provider"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def provider_process(running_provider: ProviderProcess) -> ProviderProcess:
    """The running provider, without any planned fault."""
    running_provider.forget_plan()
    return running_provider


@pytest.fixture
def client(provider_process: ProviderProcess) -> Iterator[HttpPaymentProvider]:
    """A client that gives up after half a second, so that hanging answers are seen soon."""
    with provider_process.client(timeout=0.5) as client:
        yield client


@pytest.fixture
def own_process(tmp_path: Path) -> Iterator[ProviderProcess]:
    """A provider that the test may kill."""
    process = ProviderProcess(tmp_path)
    process.start()
    yield process
    process.kill()
