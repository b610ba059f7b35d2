"""The table of refusals: complete, readable, and the only source of codes; docs/refusals.md says the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from domain.refusals import REFUSALS, Fate, Refusal
from tests.house.test_imports import code

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "refusals.md"

ENDS = [
    "PAYMENT_NOT_FOUND", "PAYMENT_NOT_SUCCEEDED", "PAYMENT_OWNER_MISMATCH", "PAYMENT_PENDING_TOO_LONG",
    "COURSE_UNAVAILABLE", "CONFLICT_OTHER_OWNER", "ALREADY_MADE_WHOLE", "CANCELLED",
]  # fmt: skip
PARKS = [
    "UNKNOWN_ITEM", "METADATA_INCOMPLETE", "DUPLICATE_PAYMENT_SUSPECTED", "COINS_INSUFFICIENT",
    "STUDENT_PROFILE_MISSING", "GPS_INVALID", "NO_TRAINER_AVAILABLE", "SCHEDULE_CONFLICT",
    "AWAITING_APPROVAL", "ALLOCATION_NOT_APPROVED", "SESSION_COUNT_MISSING", "SESSIONS_PARTIAL",
    "SESSIONS_FAILED", "CARDS_FAILED", "STEP_TROUBLE", "REFUND_FAILED", "REFUND_UNKNOWN",
    "COMPENSATION_STUCK",
]  # fmt: skip
BY_HAND = ["PAUSED_BY_HAND", "TERMINATED_BY_HAND", "UNKNOWN_RUN_STATE"]
OF_MESSAGES = [
    "WRONG_STAGE",
    "KEY_REUSED",
    "LESSON_NOT_FOUND",
    "LESSON_BEGUN",
    "TRAINER_NOT_FREE",
    "CONTENT_MISSING",
    "ATTEMPTS_EXHAUSTED",
]

FATES = {
    Fate.END: ("Ends the purchase", "What was done is undone in reverse, refund included where money was taken."),
    Fate.PARK: ("Parks the purchase", "It waits, visibly, for time, data or an operator."),
    Fate.WAIT: ("Waits on a timer", "Nobody is needed; it is looked at again by itself, up to a deadline."),
    Fate.HAND: (
        "Stopped from outside",
        "Told of a run that somebody paused or closed in Temporal, or that cannot be read (`domain/runs.py`).",
    ),
    Fate.MESSAGE: ("Refuses a message", "The purchase is not touched."),
}

HEAD = """# Refusals

Every "no" of the system has a code, and the code is the same word everywhere: `code` of an HTTP problem, `AttentionReason`
in Temporal UI, type of the error a workflow fails with. The table is `domain/refusals.py`; this page is made from it
(`UPDATE_DOCS=1 make test PYTEST_ARGS=tests/house/test_refusals.py`) and a test compares the two.

A refusal is not trouble. Timeouts, lost connections and errors of a service are retried and show as `STEP_TROUBLE`.
"""


def page() -> str:
    """docs/refusals.md as the table wants it."""
    return "\n".join([HEAD, *(part for fate in Fate for part in _of(fate))])


def _of(fate: Fate) -> list[str]:
    title, meaning = FATES[fate]
    rows = [_row(refusal) for refusal in REFUSALS.values() if refusal.fate is fate]
    head = "| code | HTTP | the student reads | the operator reads | next action |\n| --- | --- | --- | --- | --- |"
    return [f"## {title}\n", f"{meaning}\n", head, *rows, ""]


def _row(row: Refusal) -> str:
    again = " It is also tried again by itself." if row.heals else ""
    return f"| `{row.code}` | {row.status} | {row.student} | {row.operator} | {row.next_action}{again} |"


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        (name, fate)
        for fate, names in ((Fate.END, ENDS), (Fate.PARK, PARKS), (Fate.HAND, BY_HAND), (Fate.MESSAGE, OF_MESSAGES))
        for name in names
    ],
)
def test_every_code_of_the_contract_has_its_row(name: str, fate: Fate):
    assert (REFUSALS[name].code, REFUSALS[name].fate) == (name, fate)


@pytest.mark.parametrize("row", REFUSALS.values(), ids=list(REFUSALS))
def test_a_row_speaks_in_sentences(row: Refusal):
    for sentence in (row.student, row.operator, row.next_action):
        assert re.fullmatch(r"\S.{8,}[.]", sentence), sentence
    assert row.code not in row.student
    assert 400 <= row.status <= 599


def test_every_code_the_code_raises_is_in_the_table():
    raised = {
        found[1]: path for path, text in code() for found in re.finditer(r"\bRefused\(\s*[\"']([A-Z_]+)[\"']", text)
    }
    assert raised, "the search finds nothing: is Refused called in another way?"
    assert {name: path for name, path in raised.items() if name not in REFUSALS} == {}


def test_the_page_of_refusals_is_the_table():
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "rewrite it: UPDATE_DOCS=1 make test PYTEST_ARGS=tests/house/test_refusals.py"
