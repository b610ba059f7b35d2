"""What came of an operator's act. Histories and the audit keep it in words; here alone the words are read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_REFUSED = "refused: "
_WITHDRAWN = "withdrawn "


@dataclass(frozen=True)
class Outcome:
    """`refused`: nothing was done. `refused_again`: a step was tried again and refused. `withdrawn`: by who asked for a
    second person. `answered`: anything else. `code` says why of the first two, `detail` of the first."""

    outcome: Literal["answered", "refused", "refused_again", "withdrawn"]
    code: str | None = None
    detail: str = ""


def outcome_in(words: str) -> Outcome:
    """The outcome that is kept in these words: `refused: CODE: detail`, `withdrawn by ...`, `...: CODE` or others."""
    if words.startswith(_REFUSED):
        code, _, detail = words.removeprefix(_REFUSED).partition(": ")
        return Outcome("refused", code, detail)
    if words.startswith(_WITHDRAWN):
        return Outcome("withdrawn")
    code = words.rpartition(": ")[2]
    return Outcome("refused_again", code) if code.isupper() else Outcome("answered")
