"""How often and how long workflows try is said in `workflows/policies.py`, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = [path for folder in ("workflows", "activities", "application", "api", "runtime", "cli") for path in (ROOT / folder).rglob("*.py")]  # fmt: skip
WORKFLOWS = [path for path in PRODUCT if path.parent.name == "workflows" and path.name != "policies.py"]


def calls(path: Path, name: str) -> list[ast.Call]:
    found = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == name]


def test_retry_policies_are_made_in_one_file() -> None:
    makers = {
        path.relative_to(ROOT).as_posix() for path in [*PRODUCT, ROOT / "worker.py"] if calls(path, "RetryPolicy")
    }
    assert makers == {"workflows/policies.py"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_time_is_written_as_a_number_elsewhere(path: Path) -> None:
    written = [
        ast.unparse(call)
        for call in calls(path, "timedelta")
        if any(isinstance(word.value, ast.Constant) for word in call.keywords)
    ]
    assert written == []
