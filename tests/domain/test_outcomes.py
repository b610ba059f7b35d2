"""The words of histories and the audit are read as outcomes."""

from __future__ import annotations

import pytest

from domain.lesson_changes import refused
from domain.outcomes import Outcome, outcome_in


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (refused("KEY_REUSED", "this key: another act"), Outcome("refused", "KEY_REUSED", "this key: another act")),
        ("refused: WRONG_STAGE", Outcome("refused", "WRONG_STAGE")),
        ("tried again, and refused again: NO_TRAINER", Outcome("refused_again", "NO_TRAINER")),
        ("withdrawn by ann: A MISTAKE", Outcome("withdrawn")),
        ("rolling back; stuck: unenroll, void_purchase", Outcome("answered")),
        ("done: lesson 3 is at 2026-12-04 18:00", Outcome("answered")),
        ("done", Outcome("answered")),
        ("", Outcome("answered")),
    ],
)
def test_words_are_read_as_the_outcome_they_tell(words: str, outcome: Outcome) -> None:
    assert outcome_in(words) == outcome
