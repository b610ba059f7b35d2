"""The table of problems: complete, without dead rows, readable; docs/problems.md says the same (mission row 66)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from api.http.problem_table import PROBLEM_TYPES
from api.http.problem_types import ProblemType, title_of
from domain.refusals import REFUSALS
from tests.house.test_imports import code

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "problems.md"
OF_DOORS = [row for row in PROBLEM_TYPES.values() if row.code not in REFUSALS]
TABLES = ("api/http/problems_of_requests.py", "api/http/problems_of_doors.py")
# How the code says which problem it is: by name, after a status, as what an exception carries.
RAISED = re.compile(r"""\b(?:code=|code: str = |problem_response\([^)]*?\d, |\d{3}: |err\.type or )"([A-Z][A-Z_]+)\"""")

HEAD = """# Problems

What the API answers instead of what was asked for ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): `type` is the
address of the API's own page on it, `title` is the same for every problem of a status, `code` is stable, `retryable` says
whether the same request may succeed later. This page is made from `api/http/problem_table.py`
(`UPDATE_DOCS=1 make test PYTEST_ARGS=tests/house/test_problem_types.py`) and a test compares the two. What a purchase itself
says no with is in [refusals.md](refusals.md); the API answers with those codes too.

| code | status and title | later? | meaning | next action |
| --- | --- | --- | --- | --- |
"""


def as_row(row: ProblemType) -> str:
    statuses = ", ".join(f"{status} {title_of(status)}" for status in row.statuses)
    later = "yes" if row.retryable else "no"
    return f"| `{row.code}` | {statuses} | {later} | {row.meaning} | {row.next_action} |\n"


def test_the_page_of_problems_is_the_table():
    page = HEAD + "".join(as_row(row) for row in OF_DOORS)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "rewrite it: UPDATE_DOCS=1 make test PYTEST_ARGS=tests/house/test_problem_types.py"


def test_every_code_a_door_raises_is_in_the_table():
    raised = {
        found[1]: path
        for path, text in code()
        if path.startswith(("api/", "application/"))
        for found in RAISED.finditer(text)
    }
    assert len(raised) > 50, "the search finds little: are codes said in another way?"
    assert {name: path for name, path in raised.items() if name not in PROBLEM_TYPES} == {}


@pytest.mark.parametrize("row", OF_DOORS, ids=lambda row: row.code)
def test_every_row_is_raised_and_tried(row: ProblemType):
    source = "".join(text for path, text in code() if path not in TABLES)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    assert f'"{row.code}"' in source, "nothing answers so any more"
    assert f'"{row.code}"' in tests, "no test sees this answer"


@pytest.mark.parametrize("row", PROBLEM_TYPES.values(), ids=list(PROBLEM_TYPES))
def test_a_row_speaks_in_sentences(row: ProblemType):
    for sentence in (row.meaning, row.next_action):
        assert re.fullmatch(r"\S.{8,}[.]", sentence), sentence
    assert all(400 <= status <= 599 for status in row.statuses)
