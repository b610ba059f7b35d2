"""The file of a process is wiring: what each may import of ours is listed here. import-linter reads rooms, not these files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.test_imports import PROCESSES, ROOMS

ROOT = Path(__file__).parents[2]
DEEP = ("api", "db")  # these are listed by what is in them
MAY_IMPORT = {
    "worker.py": {"activities", "db.engine", "gateways", "runtime", "workflows"},
    "relay.py": {"application", "db.engine", "db.notices", "db.sealing", "gateways", "runtime"},
    "consumer.py": {"application", "gateways", "runtime"},
}


def imported(text: str) -> set[str]:
    """What a file imports of ours, wherever in it: rooms by name, of those in `DEEP` two levels (`db.engine`)."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a process is not in a package"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = [name.split(".") for name in names if name.split(".")[0] in ROOMS]
    return {".".join(parts[: 2 if parts[0] in DEEP else 1]) for parts in ours}


def test_every_process_is_listed():
    assert set(MAY_IMPORT) == set(PROCESSES)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_imports_only_what_is_listed(process: str):
    assert imported((ROOT / process).read_text()) - MAY_IMPORT[process] == set()


@pytest.mark.parametrize("process", PROCESSES)
def test_nothing_is_listed_that_is_not_imported(process: str):
    assert MAY_IMPORT[process] - imported((ROOT / process).read_text()) == set()
