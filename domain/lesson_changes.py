"""Changes of lessons that stand: what crosses Temporal, and what is wrong with the values of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RESCHEDULE, SUBSTITUTE, TRANSFER = "reschedule_lesson", "substitute_trainer", "transfer_lessons"
MOVE_STRANDED = "move_stranded_lessons"  # by the system: lessons that stand on a day somebody closed later
SYSTEM = "system"


@dataclass(frozen=True)
class LessonChange:
    """What an admin wants of a purchase's lessons. `values` by verb:

    - `reschedule_lesson`: `number`, `date` (YYYY-MM-DD), `timeSlot` (HH:MM, the student's wall time), maybe `minutes`
    - `substitute_trainer`: `number`, `trainerId`, `rest` (this lesson and all later ones)
    - `transfer_lessons`: `trainerId`, who then holds the purchase's allocation too
    """

    purchase_id: str
    request_key: str
    verb: str
    actor: str
    reason: str
    values: dict[str, Any]


def change_workflow_id_of(purchase_id: str, request_key: str) -> str:
    """One workflow per change: the same key is the same change."""
    return f"lesson-change:{purchase_id}:{request_key}"


def sweep_id_of(task_queue: str) -> str:
    """The schedule that looks for lessons standing on blocked days, and the workflow it starts."""
    return f"{task_queue}:lesson-sweep"


def refused(code: str, message: str) -> str:
    """The outcome of a change that was not made, as operators' acts tell it."""
    return f"refused: {code}: {message}"


def same_ask(verb: str, values: Mapping[str, Any], kept_verb: str, kept: Mapping[str, Any]) -> bool:
    """Whether an act on record, with `after` as kept, is this very change."""
    return kept_verb == verb and kept.get("asked") == dict(values)
