"""What an operator makes of an offered act: every sample replaced by what it stands for."""

from __future__ import annotations

from typing import Any

from domain.acts import SAMPLE
from domain.texts import SAMPLE_ACTOR, SAMPLE_REASON

_MEANT = ("2026-12-01", "18:00", "course-piano", "trainer-7", 10, "bank transfer 4711")
REAL: dict[str, Any] = {
    **dict(zip(SAMPLE.values(), _MEANT, strict=True)),
    SAMPLE_ACTOR: "ann",
    SAMPLE_REASON: "the student called",
}


def filled(said: Any) -> Any:
    """The same with every sample replaced."""
    if isinstance(said, dict):
        return {name: filled(value) for name, value in said.items()}
    return REAL.get(said, said) if isinstance(said, str) else said


def typed_in(line: str) -> str:
    """A command line with every sample replaced."""
    for sample, meant in REAL.items():
        line = line.replace(sample, str(meant))
    return line
