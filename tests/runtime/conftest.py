"""A COURSAGA_HOME of the test's own, and how to run our commands on it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.embedded.postgres import wipe_postgres

ROOT = Path(__file__).parent.parent.parent
OURS = (
    "COURSAGA_",
    "AUTH_",
    "DEV_AUTH",
    "DATABASE_URL",
    "TEMPORAL_",
    "PROVIDER_",
    "API_",
    "POSTGRES_",
    "WORKERS",
    "LOG_",
    "SECRETS_",
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, passable for the account that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="coursaga-"))
    folder.chmod(0o755)
    yield folder
    wipe_postgres(folder)
    shutil.rmtree(folder, ignore_errors=True)


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment with none of our settings but these: a free port for everything, on this home."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**plain, "COURSAGA_HOME": str(home), "API_PORT": "0", "TEMPORAL_UI_PORT": "0", **more}


def coursaga(*words: str) -> list[str]:
    """The command line of our command."""
    return [sys.executable, "-m", "cli.main", *words]
