"""Changes of existing lessons: the type that crosses Temporal, and the check of its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.days import DAY, day_of
from domain.metadata import named
from domain.session_count import LARGEST_COUNT
from domain.texts import is_storable, signature_faults
from domain.whole_numbers import is_whole

RESCHEDULE, SUBSTITUTE, TRANSFER = "reschedule_lesson", "substitute_trainer", "transfer_lessons"
MOVE_STRANDED = "move_stranded_lessons"  # by the system: lessons that stand on a day somebody closed later
SYSTEM = "system"
LONGEST_LESSON = 24 * 60  # minutes
LONGEST_ID = 255
KEY_REUSED = "this requestKey was used for another act"


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


def faults_of(change: LessonChange) -> list[str]:
    """Return why this change can never be made, judged by its values alone: one sentence each; empty when it may be."""
    said = change.values
    faults = signature_faults(actor=change.actor, reason=change.reason, request_key=change.request_key)
    if not is_storable(change.purchase_id):
        faults.append("there is no such purchase")
    if change.verb not in (RESCHEDULE, SUBSTITUTE, TRANSFER):
        return [*faults, f"{named(change.verb)} is no change of lessons"]
    if change.verb != TRANSFER and not _whole(said.get("number"), 1, LARGEST_COUNT):
        faults.append(f"number is not a whole number from 1 to {LARGEST_COUNT}")
    if change.verb != RESCHEDULE:
        trainer = said.get("trainerId")
        fits = isinstance(trainer, str) and trainer.isprintable() and 0 < len(trainer.strip()) <= LONGEST_ID
        return faults if fits else [*faults, "trainerId is missing: say who"]
    if day_of(said.get("date")) is None:
        faults.append(f"date is not {DAY}")
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", str(said.get("timeSlot"))):
        faults.append("timeSlot is not a time HH:MM")
    if said.get("minutes") is not None and not _whole(said["minutes"], 1, LONGEST_LESSON):
        faults.append(f"minutes is not a whole number from 1 to {LONGEST_LESSON}")
    return faults


def _whole(value: object, least: int, most: int) -> bool:
    return is_whole(value) and least <= value <= most


def refused(code: str, message: str) -> str:
    """Return the outcome of a change that was not made, in the words that operators' acts use."""
    return f"refused: {code}: {message}"


def same_ask(verb: str, values: Mapping[str, Any], kept_verb: str, kept: Mapping[str, Any]) -> bool:
    """Return whether an act on record, with `kept` as its `after`, is this very change."""
    return kept_verb == verb and kept.get("asked") == dict(values)
