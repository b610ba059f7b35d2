from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.settings import Settings
from tests.gateways.process import ProviderProcess


@pytest.fixture
def provider_process(tmp_path: Path) -> Iterator[ProviderProcess]:
    process = ProviderProcess(tmp_path)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def settings(database_url: str, provider_process: ProviderProcess) -> Settings:
    return Settings(database_url=SecretStr(database_url), provider_url=provider_process.url)
