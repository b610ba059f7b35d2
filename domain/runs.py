"""THE TABLE of run states: for each status of Temporal, what is shown of a purchase without an ending, and what helps.

List, case file, student's view, metrics and acts all read this table. A purchase that has an ending is shown from its
record alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Helps(StrEnum):
    """What gets a run in this state going again."""

    NOTHING_NEEDED = ""
    UNPAUSE = "unpause"
    START_AGAIN = "start_again"
    ENGINEER = "engineer"


@dataclass(frozen=True)
class RunKind:
    """One row. `open`: no other run of its id can start. `code`: why it needs somebody; None: the run itself says."""

    number: int  # temporal.api.enums.v1.WorkflowExecutionStatus
    status: str
    open: bool
    code: str | None
    helps: Helps


_PAUSED, _ENDED, _UNKNOWN = "PAUSED_BY_HAND", "TERMINATED_BY_HAND", "UNKNOWN_RUN_STATE"

# fmt: off
_ROWS = (
    RunKind(0, "UNSPECIFIED",      open=True,  code=_UNKNOWN, helps=Helps.ENGINEER),
    RunKind(1, "RUNNING",          open=True,  code=None,     helps=Helps.NOTHING_NEEDED),
    RunKind(2, "COMPLETED",        open=False, code=_UNKNOWN, helps=Helps.START_AGAIN),
    RunKind(3, "FAILED",           open=False, code=_UNKNOWN, helps=Helps.START_AGAIN),
    RunKind(4, "CANCELED",         open=False, code=_UNKNOWN, helps=Helps.START_AGAIN),
    RunKind(5, "TERMINATED",       open=False, code=_ENDED,   helps=Helps.START_AGAIN),
    RunKind(6, "CONTINUED_AS_NEW", open=True,  code=None,     helps=Helps.NOTHING_NEEDED),  # the next one is on its way
    RunKind(7, "TIMED_OUT",        open=False, code=_ENDED,   helps=Helps.START_AGAIN),
    RunKind(8, "PAUSED",           open=True,  code=_PAUSED,  helps=Helps.UNPAUSE),
)
# No run under its id: Temporal lost or forgot it, or was away when a door had committed its row.
FORGOTTEN = RunKind(-1, "FORGOTTEN", open=False, code=_UNKNOWN, helps=Helps.START_AGAIN)
# fmt: on

RUN_KINDS: dict[int, RunKind] = {row.number: row for row in _ROWS}
BY_HAND = frozenset({_PAUSED, _ENDED, _UNKNOWN})  # the codes that no step parks with
UNKNOWN_RUN_STATE = _UNKNOWN


def kind_of(number: int) -> RunKind:
    """Return the row of a status; for one that only a newer server has, a row that calls for an engineer."""
    return RUN_KINDS.get(number) or RunKind(number, f"STATUS_{number}", True, _UNKNOWN, Helps.ENGINEER)
