"""What the buyer asked for: one set of names out of many, one answer out of several sources (spec section 5)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any, TypeVar

from domain.days import DAY, day_of
from domain.refusals import Refused

CANONICAL: tuple[str, ...] = (
    "startDate",
    "timeSlot",
    "classTypeId",
    "scheduleType",
    "purchaseTier",
    "sessionCount",
    "sessionDuration",
    "isSundayOnly",
    "groupSize",
    "learningMode",
    "preferredTrainerId",
    "expiryDate",
    "processingItemId",
    "courseId",
)
# Where else a field may stand, in the order asked; the first that is not null wins (mission rows 32, C6).
_ALIASES: dict[str, tuple[str, ...]] = {
    "startDate": ("startDate", "date", "preferredDate", "schedule.startDate", "schedule.date"),
    "timeSlot": ("classTime", "timeSlot", "preferredTimeSlot", "schedule.timeSlot"),
}

SCHEDULE_TYPES = ("daily", "weekdays", "weekly", "alternate_days")
LEARNING_MODES = ("online", "home")
DEFAULT_MINUTES = 60
# Half a day: longer is a typing error (19:00-18:00), and shorter lessons of a daily series can never
# overlap each other, whatever the clocks do.
LONGEST_MINUTES = 720

_T = TypeVar("_T")


@dataclass(frozen=True)
class Canonical:
    """One source under canonical names. `extras` keeps verbatim every key that `fields` does not carry as it was."""

    fields: dict[str, Any]
    extras: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True)
class Merged:
    """All sources as one. `sources` says of each key who won: admin, payment, event or request.

    To show a purchase, let `fields` win over `extras`; `extras` alone is for nobody to decide by.
    """

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[str, str] = field(default_factory=dict[str, str])
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class WantedLessons:
    """The lessons asked for, checked: `start_time` is wall time in the student's zone, `minutes` the length of one.

    `preferred_trainer` is taken before others who can give all the lessons, and is no reason to wait when it cannot.
    """

    start_date: date
    start_time: time
    minutes: int
    schedule_type: str
    sunday_only: bool
    learning_mode: str
    group_size: int
    preferred_trainer: str | None = None


def canonicalise(source: Mapping[str, Any]) -> Canonical:
    """One source's own words, under canonical names; null is no word; aliases that disagree warn (mission rows 32, C6)."""
    fields: dict[str, Any] = {}
    warnings: list[str] = []
    for name in CANONICAL:
        said = [(path, value) for path in _ALIASES.get(name, (name,)) if (value := _at(source, path)) is not None]
        if not said:
            continue
        winner, fields[name] = said[0]
        warnings += [
            f"{name}: {path} says something else than {winner}, which is used"
            for path, value in said[1:]
            if not _same(value, fields[name])
        ]
    extras = {key: value for key, value in source.items() if key not in fields or not _same(fields[key], value)}
    return Canonical(fields, extras, warnings)


def merge(
    *,
    amendment: Mapping[str, Any] | None = None,
    payment: Mapping[str, Any] | None = None,
    event: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
    request_wins: bool = False,
) -> Merged:
    """Amendment over payment over event over request, key by key; null never overrides (mission rows 22, C5).

    Each source is put under canonical names first, so an alias of a stronger source beats the plain name of a
    weaker one. `request_wins` (the manual door without a payment) puts the request before payment and event.
    """
    ranked = [("admin", amendment), ("payment", payment), ("event", event), ("request", request)]
    if request_wins:
        ranked.insert(1, ranked.pop())
    merged = Merged()
    given = [(name, canonicalise(source)) for name, source in ranked if source is not None]
    for name, source in given:
        merged.warnings.extend(f"{name}: {warning}" for warning in source.warnings)
        for key, value in source.fields.items():
            if key not in merged.fields:
                merged.fields[key], merged.sources[key] = value, name
    for name, source in given:
        for key, value in source.extras.items():
            if value is None and (key in merged.fields or key in merged.extras):
                continue
            if merged.extras.get(key) is None:
                merged.extras[key] = value
                if key not in merged.fields:
                    merged.sources[key] = name
    return merged


def wanted_lessons(fields: Mapping[str, Any]) -> WantedLessons:
    """Reads the lessons asked for out of canonical fields (mission rows 63, 65).

    Absent: 60 minutes or the slot's own length, alternate days, every weekday, online, a group of one. Raises
    METADATA_INCOMPLETE naming every field that is missing or malformed; nothing is guessed from a bad value.
    """
    wanted, problems = _read_lessons(fields, whole=True)
    if problems:
        raise Refused("METADATA_INCOMPLETE", "; ".join(problems))
    return wanted


def for_others(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of canonical fields what others may be told: values of the field's own form. What somebody typed freely stays."""
    return {name: value for name in CANONICAL if (value := fields.get(name)) is not None and _well_formed(name, value)}


def named(name: object) -> str:
    """What a refusal calls a field that nobody knows: by its name, if it is one, as names may be typed freely too."""
    return name if isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z_]{0,39}", name) else "one of the fields"


def lesson_faults(fields: Mapping[str, Any]) -> list[str]:
    """Which of the lessons' fields that are given are malformed; none is required. For what is laid over others."""
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


def _well_formed(name: str, value: object) -> bool:
    if (holds := _FORMS.get(name)) is not None:
        return holds(value)
    return not lesson_faults({name: value})


def _at(source: Mapping[str, Any], path: str) -> Any:
    outer, _, inner = path.partition(".")
    value = source.get(outer)
    if not inner:
        return value
    return value.get(inner) if isinstance(value, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] -- JSON of any shape


def _same(one: object, other: object) -> bool:
    """Equal as JSON: to Python `true` is 1 and 1.0 is 1, to whoever wrote them they are not."""
    return one is other or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _date(value: object) -> date:
    if (day := day_of(value)) is None:
        raise ValueError(DAY)
    return day


def _slot(value: object, *, as_length: bool) -> tuple[time, int | None]:
    """Start of the slot, and its length in minutes if it is a range (which may cross midnight).

    `as_length`: the range is what says how long a lesson is, so it must be as long as a lesson can be.
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
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LONGEST_MINUTES:
        raise ValueError(f"a whole number of minutes from 1 to {LONGEST_MINUTES}")
    return value


def _group_size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
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


def _is_id(value: object) -> bool:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", text) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Of the fields that `_read_lessons` does not read, and of one that it reads as any text.
_FORMS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("classTypeId", "preferredTrainerId", "processingItemId", "courseId"), _is_id),
    **dict.fromkeys(("purchaseTier", "sessionCount"), _is_number),
    "expiryDate": lambda value: day_of(value) is not None,
}
