"""The rules about imports that import-linter cannot hold, and that its contracts are the ones we mean."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROCESSES = ("consumer.py", "relay.py", "worker.py")
ROOMS = ("activities", "api", "application", "cli", "db", "domain", "gateways", "runtime", "workflows")

# Run by a process of its own. Alembic runs its environment file as a script, `python -m` runs a __main__.
IMPORT_ALL = """
import importlib, socket, sys, threading

def refuse(*args, **kwargs):
    raise AssertionError("importing opened something")

WATCHED = {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.mkdir",
           "os.remove", "os.rename", "tempfile.mkdtemp", "tempfile.mkstemp", "_thread.start_new_thread"}
opened = []
sys.addaudithook(lambda event, args: opened.append((event, args)) if event in WATCHED else None)
socket.socket.connect = socket.socket.bind = refuse
for name in sys.argv[1:]:
    before = len(opened)
    importlib.import_module(name)
    assert opened[before:] == [], f"{name}: {opened[before:]}"
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
print(len(sys.argv) - 1)
"""


def modules() -> list[str]:
    """Every module of ours that is imported by name."""
    files = [*(ROOT / name for name in PROCESSES), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    return sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if file.name != "__main__.py" and "migrations" not in file.parts
    )


def code() -> Iterator[tuple[str, str]]:
    """Path and text of every Python file of ours but the tests."""
    for file in [
        *(ROOT / name for name in PROCESSES),
        *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))),
    ]:
        yield str(file.relative_to(ROOT)), file.read_text()


@pytest.fixture(scope="module")
def floors() -> str:
    """What import-linter says of the contracts in pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_importing_any_module_opens_nothing():
    names = modules()
    assert "workflows.purchase" in names
    run = subprocess.run(
        [sys.executable, "-I", "-B", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{IMPORT_ALL}", *names],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == [str(len(names))]


def test_every_import_keeps_to_its_floor(floors: str):
    assert "0 broken." in floors, floors[-3000:]


def test_every_room_is_read_by_the_linter():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert packages == set(ROOMS) == set(linter["root_packages"])


def test_nobody_imports_the_processes():
    processes = {name.removesuffix(".py") for name in PROCESSES}
    for path, text in code():
        for node in ast.walk(ast.parse(text)):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert processes.isdisjoint(named), path


def test_only_create_purchase_writes_the_purchase_row():
    """Mission row 49: no other service inserts into student_course_purchases; all doors end in one function.

    The bench is no door: it fills a database of its own, which goes with it, to see what much stored costs.
    """
    inserts = re.compile(r"insert\s+into\s+(?:only\s+)?\"?student_course_purchases\b", re.IGNORECASE)
    found = {path for path, text in code() if inserts.search(text)}
    assert found == {"db/effects/purchase.py", "cli/bench/stored.py"}


def test_no_purchase_row_is_written_through_its_class():
    """The class is there for the schema; a row made of it would pass by the search above."""
    made = re.compile(r"\bPurchase\(|insert\(\s*Purchase\b")
    assert {path for path, text in code() if made.search(text)} == {"db/tables/purchases.py"}


def test_only_the_engine_runs_local_activities():
    """What is in trouble becomes one that support sees in Temporal UI (decision 0019)."""
    workflows = {path: text for path, text in code() if path.startswith("workflows/")}
    assert any("execute_activity" in text for text in workflows.values())
    assert [path for path, text in workflows.items() if "local_activity" in text] == ["workflows/saga_state.py"]
