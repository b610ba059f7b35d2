"""docs/cli.md is what the commands say with --help, made by cyclopts; documents name only commands that there are."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from cyclopts import App

from cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

HEAD = """# The command

`.venv/bin/coursaga` runs everything and acts on purchases. Every command has `--help`; `--json` prints JSON for programs.
This page is made from what the commands say with `--help`
(`UPDATE_DOCS=1 make test PYTEST_ARGS=tests/house/test_cli_page.py`) and a test compares the two.

| exit code | means |
| --- | --- |
| 0 | fine |
| 1 | failed |
| 2 | usage: the command line is wrong |
| 3 | a server is not reachable, or none is named and no stack runs |

- Settings come from the environment only. All of them are in [.env.example](../.env.example), with defaults.
- `COURSAGA_HOME` is the folder of a stack: its data, logs and keys. Only `up`, `demo`, `bench` and `api` make one.
- `up` starts PostgreSQL, Temporal, a stand-in payment provider, worker, relay and API. Its data survives until `down --wipe`.
- `worker`, `api`, `relay`, `consume` and `migrate` are one process each. They join the stack that runs.
- `api`, `relay` and `consume`, once they serve, wait for a server that is away.
- `import` is safe to repeat.
- Commands that act sign a token for the stack they find. You are the account you run under, or `--actor`.
- `token` signs with the key of a home on which a stack has run.
- For an API elsewhere the token comes from `COURSAGA_TOKEN` or `--token`.

"""


def names(of: App) -> set[str]:
    """The commands of an app; its options are left out."""
    return {name for name in of if not name.startswith("-")}


def commands() -> set[str]:
    """Every command and subcommand, as it is typed."""
    return {"coursaga"} | {
        f"coursaga {' '.join(words)}"
        for first in names(app)
        for words in [(first,), *((first, second) for second in names(app[first]))]
    }


def test_the_page_is_what_the_commands_say():
    page = HEAD + app.generate_docs(heading_level=2).rstrip() + "\n"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "rewrite it: UPDATE_DOCS=1 make test PYTEST_ARGS=tests/house/test_cli_page.py"


def test_the_page_has_every_command():
    told = set(re.findall(r"^#+ (coursaga(?: [a-z][a-z-]*)*)$", PAGE.read_text(), re.MULTILINE))
    assert told == commands()
    assert len(told) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_commands_that_there_are(page: Path):
    told = re.findall(r"`(?:\.venv/bin/)?coursaga ([a-z]+)(?: ([a-z-]+))?", page.read_text())
    groups = {first for first in names(app) if names(app[first])}
    named = {
        f"coursaga {first} {second}" if second and first in groups else f"coursaga {first}" for first, second in told
    }
    assert named <= commands(), named - commands()
