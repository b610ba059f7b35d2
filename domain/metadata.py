"""Bring what the buyer asked for under one set of names, and merge several sources into one (spec section 5)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.days import day_of
from domain.wanted_lessons import lesson_faults
from domain.whole_numbers import is_whole

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


@dataclass(frozen=True)
class Canonical:
    """One source under canonical names. `extras` keeps verbatim every key that `fields` does not carry unchanged."""

    fields: dict[str, Any]
    extras: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True)
class Merged:
    """All sources merged into one. `sources` names the winner of each key: admin, payment, event or request.

    To show a purchase, let `fields` win over `extras`; nothing may be decided by `extras`.
    """

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    sources: dict[str, str] = field(default_factory=dict[str, str])
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: list[str] = field(default_factory=list[str])


def canonicalise(source: Mapping[str, Any]) -> Canonical:
    """Put one source under canonical names; null counts as absent.

    Aliases that disagree give a warning (mission rows 32, C6).
    """
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
    """Merge key by key: amendment over payment over event over request; null never overrides (mission rows 22, C5).

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


def for_others(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical fields that may be sent to others: values of the field's own form. Free text is left out."""
    return {name: value for name in CANONICAL if (value := fields.get(name)) is not None and _well_formed(name, value)}


def named(name: object) -> str:
    """Return what a refusal calls an unknown field: its name only if it looks like one, as names are free text."""
    return name if isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z_]{0,39}", name) else "one of the fields"


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
    """Return whether both are equal as JSON, where `true`, 1 and 1.0 differ; to Python they are equal."""
    return one is other or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _is_id(value: object) -> bool:
    text = str(value) if is_whole(value) else value
    return isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", text) is not None


# Of the fields that `domain/wanted_lessons.py` does not read, and of one that it reads as any text.
_FORMS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("classTypeId", "preferredTrainerId", "processingItemId", "courseId"), _is_id),
    **dict.fromkeys(("purchaseTier", "sessionCount"), is_whole),
    "expiryDate": lambda value: day_of(value) is not None,
}
