"""Outcomes of operators' acts. Histories and the audit keep them in words; only this module reads the words back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_REFUSED = "refused: "
_WITHDRAWN = "withdrawn "


@dataclass(frozen=True)
class Outcome:
    """`refused`: nothing was done. `refused_again`: a step was tried again and refused. `withdrawn`: taken back
    while it waited for a second person. `answered`: anything else. `code` says why of the first two, `detail` of
    the first."""

    outcome: Literal["answered", "refused", "refused_again", "withdrawn"]
    code: str | None = None
    detail: str = ""


def outcome_in(words: str) -> Outcome:
    """Parse an outcome from its words: `refused: CODE: detail`, `withdrawn by ...`, `...: CODE` or others."""
    if words.startswith(_REFUSED):
        code, _, detail = words.removeprefix(_REFUSED).partition(": ")
        return Outcome("refused", code, detail)
    if words.startswith(_WITHDRAWN):
        return Outcome("withdrawn")
    code = words.rpartition(": ")[2]
    return Outcome("refused_again", code) if code.isupper() else Outcome("answered")
