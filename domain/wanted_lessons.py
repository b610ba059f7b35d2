"""Read the lessons asked for out of canonical fields; name each that is missing or malformed (mission rows 63, 65)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any, TypeVar

from domain.days import DAY, day_of
from domain.refusals import Refused
from domain.whole_numbers import is_whole

SCHEDULE_TYPES = ("daily", "weekdays", "weekly", "alternate_days")
LEARNING_MODES = ("online", "home")
DEFAULT_MINUTES = 60
# Half a day: longer is a typing error (19:00-18:00), and shorter lessons of a daily series can never
# overlap each other, whatever the clocks do.
LONGEST_MINUTES = 720

_T = TypeVar("_T")


@dataclass(frozen=True)
class WantedLessons:
    """The lessons asked for, checked: `start_time` is wall time in the student's zone, `minutes` the length of each.

    `preferred_trainer` is taken before others who can give all the lessons; nothing waits for one who cannot.
    """

    start_date: date
    start_time: time
    minutes: int
    schedule_type: str
    sunday_only: bool
    learning_mode: str
    group_size: int
    preferred_trainer: str | None = None


def wanted_lessons(fields: Mapping[str, Any]) -> WantedLessons:
    """Return the lessons asked for in these canonical fields (mission rows 63, 65).

    Defaults: 60 minutes or the slot's own length, alternate days, every weekday, online, a group of one. Raises
    METADATA_INCOMPLETE naming every field that is missing or malformed; nothing is guessed from a bad value.
    """
    wanted, problems = _read_lessons(fields, whole=True)
    if problems:
        raise Refused("METADATA_INCOMPLETE", "; ".join(problems))
    return wanted


def lesson_faults(fields: Mapping[str, Any]) -> list[str]:
    """Return which of the given lesson fields are malformed; none is required, so an amendment can be checked alone."""
    return _read_lessons(fields, whole=False)[1]


def _read_lessons(fields: Mapping[str, Any], *, whole: bool) -> tuple[WantedLessons, list[str]]:
    problems: list[str] = []

    def read(name: str, parse: Callable[[object], _T], absent: _T, *, required: bool = False) -> _T:
        value: object = fields.get(name)
        if value is None:
            if required:
                problems.append(f"{name} is missing")
            return absent
        try:
            return parse(value)
        except ValueError as why:
            problems.append(f"{name} is not {why}")
            return absent

    start_date = read("startDate", _date, date.max, required=whole)
    minutes = read("sessionDuration", _minutes, None)
    as_length = whole and fields.get("sessionDuration") is None
    slot = read("timeSlot", lambda value: _slot(value, as_length=as_length), (time.min, None), required=whole)
    wanted = WantedLessons(
        start_date=start_date,
        start_time=slot[0],
        minutes=minutes or slot[1] or DEFAULT_MINUTES,
        schedule_type=read("scheduleType", lambda value: _one_of(value, SCHEDULE_TYPES), "alternate_days"),
        sunday_only=read("isSundayOnly", _flag, False),
        learning_mode=read("learningMode", lambda value: _one_of(value, LEARNING_MODES), "online"),
        group_size=read("groupSize", _group_size, 1),
        preferred_trainer=read("preferredTrainerId", _trainer_id, None),
    )
    return wanted, problems


def _date(value: object) -> date:
    if (day := day_of(value)) is None:
        raise ValueError(DAY)
    return day


def _slot(value: object, *, as_length: bool) -> tuple[time, int | None]:
    """Return the slot's start, and its length in minutes if it is a range (which may cross midnight).

    `as_length`: the range says how long a lesson is, so it must not be longer than a lesson can be. Raises ValueError.
    """
    pattern = r"([01][0-9]|2[0-3]):([0-5][0-9])(?:-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00))?"
    found = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a time HH:MM or HH:MM-HH:MM")
    start = time(int(found[1]), int(found[2]))
    if "-" not in found[0]:
        return start, None
    until = int(found[3] or 0) * 60 + int(found[4] or 0)  # 24:00 is the next day's 00:00
    length = (until - start.hour * 60 - start.minute) % (24 * 60)
    if length == 0 or (as_length and length > LONGEST_MINUTES):
        raise ValueError(f"a range of 1 to {LONGEST_MINUTES} minutes")
    return start, length


def _minutes(value: object) -> int | None:
    if not is_whole(value) or not 1 <= value <= LONGEST_MINUTES:
        raise ValueError(f"a whole number of minutes from 1 to {LONGEST_MINUTES}")
    return value


def _group_size(value: object) -> int:
    if not is_whole(value) or value < 1:
        raise ValueError("a whole number from 1 on")
    return value


def _trainer_id(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("a trainer's id")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return value
