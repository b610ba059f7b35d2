"""Words that filters may name. A mistyped one, which would never find anything, is refused, naming the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from domain.refusals import REFUSALS, Fate
from domain.stages import STARTING
from workflows.steps import TABLE

CODES = [code for code, row in REFUSALS.items() if row.fate is not Fate.MESSAGE]
STAGES = [STARTING, *(step.name for step in TABLE), "rolling_back", "announce", "completed", "refused", "cancelled"]


def _one_of(words: Sequence[str]) -> Callable[[str], str]:
    def known(value: str) -> str:
        if value not in words:
            raise ValueError(f"is none of {', '.join(words)}")
        return value

    return known


_ATTENTION = ["any", "true", *CODES]  # the first two mean the same

Code = Annotated[str, AfterValidator(_one_of(CODES)), Field(json_schema_extra={"enum": [*CODES]})]
Attention = Annotated[str, AfterValidator(_one_of(_ATTENTION)), Field(json_schema_extra={"enum": [*_ATTENTION]})]
Stage = Annotated[str, AfterValidator(_one_of(STAGES)), Field(json_schema_extra={"enum": [*STAGES]})]
