"""One stack for all modules here, which need no settings of their own. Each brings students and payments of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.world import World, world_in


@pytest.fixture(scope="package")
def stack_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("one-stack")) as world:
        yield world
