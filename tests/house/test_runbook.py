"""The runbook has a page per reason to park and per ending, in the words of the refusals table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.operators.purchases import app
from domain.refusals import REFUSALS, Fate

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "runbook.md").read_text()
SECTIONS: dict[str, str] = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
TOLD = [row for row in REFUSALS.values() if row.fate in (Fate.PARK, Fate.HAND, Fate.END)]


@pytest.mark.parametrize("code", [row.code for row in TOLD])
def test_says_what_it_means_what_the_student_has_and_what_to_do(code: str) -> None:
    body = SECTIONS[code]
    assert REFUSALS[code].operator in body
    assert REFUSALS[code].next_action in body
    assert "**The student has:**" in body


def test_has_no_page_of_a_code_that_is_gone() -> None:
    assert set(SECTIONS) == {row.code for row in TOLD}


def test_names_only_commands_that_there_are() -> None:
    named = set(re.findall(r"`coursaga purchases ([a-z-]+)", PAGE + (DOCS / "backup.md").read_text()))
    assert named <= set(app), named - set(app)
