"""Choose the trainer, and record the reason for the choice and for each rejected candidate (row 73)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.matching import Place, TrainerFacts, kilometres, rank
from domain.refusals import Refused
from domain.schedule import Lesson
from domain.wanted_lessons import WantedLessons


@dataclass(frozen=True)
class Choice:
    """The trainer chosen.

    `won` holds what decided: load, last assignment, distance, how many fitted, whether asked for; and how many were
    looked at of how many, unless all were.

    `lost` maps every other id that was looked at to the first reason against it.
    """

    trainer: TrainerFacts
    won: dict[str, Any]
    lost: dict[str, str]


class NobodyFits(Refused):
    """The refusal NO_TRAINER_AVAILABLE; `lost` maps each candidate's id to the first reason against it."""

    def __init__(self, message: str, lost: dict[str, str]) -> None:
        super().__init__("NO_TRAINER_AVAILABLE", message)
        self.lost = lost


def choose(
    course_id: str,
    trainers: Sequence[TrainerFacts],
    lessons: Sequence[Lesson],
    *,
    home: Place,
    wanted: WantedLessons,
    taken: Collection[str] = (),
    held: str | None = None,
    teaching: int = 0,
) -> Choice:
    """Choose the best trainer free for all lessons: the one `held` for the student, the preferred, then by load.

    `taken` are ids of trainers whose slots another purchase took meanwhile; `teaching`: how many teach the course, if
    `trainers` are only those who come first. Raises NobodyFits.
    """
    first = list(dict.fromkeys(each for each in (held, wanted.preferred_trainer) if each))
    match = rank(
        trainers, lessons, home=home, learning_mode=wanted.learning_mode, group_size=wanted.group_size, first=first
    )  # fmt: skip
    lost = {**match.lost, **dict.fromkeys(taken & match.lost.keys(), "another purchase took a slot")}
    if not match.ranked:
        raise NobodyFits(_nobody(course_id, trainers, len(lessons), home, lost), lost)
    known = {trainer.id: trainer for trainer in trainers}
    chosen = known[match.ranked[0]]
    asked_for = chosen.id == wanted.preferred_trainer
    beaten = "was held before paying" if chosen.id == held else "was asked for" if asked_for else None
    lost.update({other: _outranked(known[other], chosen, beaten) for other in match.ranked[1:]})
    won = what_won(chosen, home, fitting=len(match.ranked), asked_for=asked_for)
    return Choice(chosen, {**won, **looked_at(trainers, teaching)}, lost)


def looked_at(trainers: Sequence[TrainerFacts], teaching: int) -> dict[str, int]:
    """Return how many were looked at of how many, in the form in which it is stored; nothing if these are all."""
    return {"lookedAt": len(trainers), "candidates": teaching} if teaching > len(trainers) else {}


def what_won(chosen: TrainerFacts, home: Place, *, fitting: int, asked_for: bool = False) -> dict[str, Any]:
    """Return the facts that decided a choice, in the form in which they are stored."""
    last = chosen.last_assigned_at
    return {
        "load": chosen.load,
        "lastAssignedAt": last.isoformat() if last else None,
        "distanceKm": None if chosen.place is None else round(kilometres(chosen.place, home), 1),
        "fitting": fitting,
        "askedFor": asked_for,
    }


def outranked_unseen(
    others: Sequence[TrainerFacts],
    lessons: Sequence[Lesson],
    *,
    home: Place,
    wanted: WantedLessons,
    chosen: str,
    won: Mapping[str, Any],
    held: bool,
) -> dict[str, str]:
    """Return why each of these, whom the search did not look at, was not chosen: first that `chosen` came before them.

    Then what speaks against them now: that they cannot give the lessons, or hold more than `chosen` did (`won`).
    """
    match = rank(others, lessons, home=home, learning_mode=wanted.learning_mode, group_size=wanted.group_size)
    first = f"{chosen} {'was held before paying' if held else 'was asked for' if won['askedFor'] else 'came first'}"
    now = {
        other.id: f"holds {other.load} future slots, {chosen} held {won['load']}"
        for other in others
        if other.load > won["load"]
    } | match.lost
    return {other.id: f"{first}; now: {now[other.id]}" if other.id in now else first for other in others}


def _outranked(other: TrainerFacts, chosen: TrainerFacts, beaten: str | None) -> str:
    if beaten:
        return f"{chosen.id} {beaten}"
    if other.load > chosen.load:
        return f"holds {other.load} future slots, {chosen.id} {chosen.load}"
    if other.last_assigned_at != chosen.last_assigned_at:
        return f"assigned more recently than {chosen.id}"
    return f"equal to {chosen.id}, whose id comes first"


def _nobody(course_id: str, trainers: Sequence[TrainerFacts], count: int, home: Place, lost: dict[str, str]) -> str:
    if not trainers:
        return f"no trainer teaches {course_id}"
    away = {trainer.id: kilometres(trainer.place, home) if trainer.place else float("inf") for trainer in trainers}
    nearest = min(away, key=lambda trainer_id: (away[trainer_id], trainer_id))
    return (
        f"none of {len(trainers)} trainers of {course_id} can give all {count} lessons; "
        f"the nearest, {nearest}: {lost[nearest]}"
    )
