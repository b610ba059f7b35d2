"""Migrations after the first run beside the code that is in use: squawk finds what would lock it out or break it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from db.migrate import upgrade
from tests import cluster

FIRST = "0001"  # makes tables that nobody uses yet
SQUAWK = Path(sys.executable).with_name("squawk")


def lint(sql: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SQUAWK, "--assume-in-transaction", "--stdin-filepath", "migrations.sql"],
        input=sql,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def sent_by_the_migrations(server: str) -> str:
    """What the migrations after the first say to the database."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement.strip().removesuffix(";"))

    with cluster.empty_database(server) as url:
        upgrade(url, FIRST)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            upgrade(url)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    return ";\n".join(part for part in sent if "alembic_version" not in part and "%(" not in part) + ";\n"


def test_squawk_has_nothing_to_say(postgres: str) -> None:
    sql = sent_by_the_migrations(postgres)
    assert "CREATE TABLE operator_decisions" in sql, "the statements are not seen any more"
    found = lint(sql)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("harm", "rule"),
    [
        ("ALTER TABLE purchase_starts DROP COLUMN line", "ban-drop-column"),
        ("ALTER TABLE purchase_starts ADD COLUMN size bigint NOT NULL", "adding-required-field"),
    ],
)
def test_squawk_would_find_a_change_that_breaks_the_code_in_use(harm: str, rule: str) -> None:
    found = lint(f"SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '5s'; {harm};")
    assert found.returncode != 0
    assert rule in found.stdout
