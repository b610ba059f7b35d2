"""A COURSAGA_HOME of the test's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.embedded.postgres import wipe_postgres


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, passable for the account that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="coursaga-"))
    folder.chmod(0o755)
    yield folder
    wipe_postgres(folder)
    shutil.rmtree(folder, ignore_errors=True)
