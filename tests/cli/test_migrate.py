"""`coursaga migrate`: as the owner of the tables, and as somebody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.grants import ROLES
from tests.roles import as_role


def migrate(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COURSAGA_HOME": str(folder / "home"), "DATABASE_URL": url}
    line = [sys.executable, "-m", "cli.main", "migrate", *words]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_it_says_to_whom_it_has_granted_what_they_need(database_url: str, tmp_path: Path) -> None:
    done = migrate(tmp_path, database_url, "--json")
    assert (json.loads(done.stdout), done.returncode) == ({"migrated": True, "roles": list(ROLES)}, 0)
    assert ", ".join(ROLES) in migrate(tmp_path, database_url).stdout


@pytest.mark.parametrize("role", ROLES)
def test_a_process_may_not_migrate_and_is_told_who_may(role: str, database_url: str, tmp_path: Path) -> None:
    refused = migrate(tmp_path, as_role(role, database_url))
    assert refused.returncode == 1
    assert f"{role} may not migrate" in refused.stderr
    assert "that of the owner" in refused.stderr
