"""No step knows the tests of the older system: one file asks their table, and only the API asks that file (mission row 6)."""

from __future__ import annotations

import re

from tests.house.test_imports import code

KNOWS = re.compile(r"\btest_attempts\b|OldTestAttempt|old_tests|legacy_attempts")
MAY_KNOW = {
    "api/app.py",
    "api/mock_tests/legacy_tests.py",
    "api/mock_tests/test_cards.py",
    "db/grants.py",
    "db/migrations/versions/0012_old_tests_stay.py",
    "db/legacy_attempts.py",
    "db/tables/__init__.py",
    "db/tables/test_cards.py",
}
STEPS = ("activities/", "db/effects/", "workflows/", "worker.py")


def test_no_step_names_the_older_table() -> None:
    seen = {path for path, _ in code()}
    assert all(any(path.startswith(place) for path in seen) for place in STEPS)
    knowing = {path for path, text in code() if KNOWS.search(text)}
    assert {path for path in knowing if path.startswith(STEPS)} == set()
    assert knowing == MAY_KNOW


def test_nothing_makes_a_row_of_the_older_table() -> None:
    asked = next(text for path, text in code() if path == "db/legacy_attempts.py")
    assert "INSERT" not in asked
    assert "DELETE" not in asked
