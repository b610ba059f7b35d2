"""Run `coursaga bench`, small, in a folder of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.stack import COURSAGA


@contextmanager
def open_folder() -> Iterator[Path]:
    """Where the bench puts its files; not pytest's own place, which PostgreSQL's account may not enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def bench(folder: Path, **asked: object) -> dict[str, Any]:
    """What the bench says, asked so: `in_flight=2` is `--in-flight 2`, `peers=True` is `--peers`, a list is several words."""
    command: list[str | Path] = [COURSAGA, "bench", "--json"]
    for name, value in asked.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        command += [f"--{name.replace('_', '-')}", *map(str, values)]
    env = {**os.environ, "TMPDIR": str(folder), "COURSAGA_TODAY": "2020-01-01"}  # a clock that stands: not for a bench
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
