"""What a refusal is: a row of the table in `domain/refusals.py`, its fate, and the exception that carries its code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What a refusal does to the purchase."""

    END = "end"  # roll back what was done, refund included, and fail with the code
    PARK = "park"  # wait, visibly, for time, data or an operator
    WAIT = "wait"  # a named timer with its own pause and deadline, no attention
    HAND = "hand"  # told of a run that somebody stopped from outside (see `domain/runs.py`); never raised by a step
    MESSAGE = "message"  # refuses a message, never the purchase


@dataclass(frozen=True)
class Refusal:
    """One row of the table. `heals`: waiting may help, so the step is retried by itself. `status`: the HTTP status."""

    code: str
    fate: Fate
    student: str
    operator: str
    next_action: str
    heals: bool = False
    status: int = 409


class Refused(Exception):
    """Raised for a typed business "no". `code` is in the table; `message` says what happened, in words for an operator;
    `facts` are values that a program may use (`missing=3`)."""

    def __init__(self, code: str, message: str, **facts: int | str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.facts = facts
