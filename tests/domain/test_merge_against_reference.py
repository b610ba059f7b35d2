"""The merge of metadata against a second telling of spec section 5, which shares no code with it (rows 19, 22, 32; C5, C6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.metadata import merge

# Written down from the specification: each field and where it may stand, the first that is not null wins.
FIELDS: dict[str, list[str]] = {
    "startDate": ["startDate", "date", "preferredDate", "schedule.startDate", "schedule.date"],
    "timeSlot": ["classTime", "timeSlot", "preferredTimeSlot", "schedule.timeSlot"],
    **{
        name: [name]
        for name in (
            "classTypeId", "scheduleType", "purchaseTier", "sessionCount", "sessionDuration", "isSundayOnly", "groupSize",
            "learningMode", "expiryDate", "processingItemId", "courseId",
        )
    },
}  # fmt: skip
KEYS = [*{path for paths in FIELDS.values() for path in paths if "." not in path}, "campaign", "note", "userId"]

WORDS: list[Any] = [
    None,
    None,
    True,
    False,
    0,
    1,
    10,
    "",
    "18:00",
    "19:00",
    "2027-03-01",
    "\u00e9",
    [],
    [1],
    [True],
    {"a": None},
]
PLANS: list[Any] = [
    *WORDS, {"startDate": "2027-03-01"}, {"date": "2027-03-02"}, {"timeSlot": "18:00"}, {"timeSlot": 1, "other": "x"},
    {"startDate": None, "date": "2027-03-01", "timeSlot": "19:00"},
]  # fmt: skip
plain = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(WORDS), max_size=5)
planned = st.builds(lambda said, plan: {**said, "schedule": plan}, plain, st.sampled_from(PLANS))
sources = st.one_of(st.none(), plain, planned)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is no 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def at(source: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        source = source.get(part) if isinstance(source, dict) else None  # type: ignore[assignment]
    return source


def told(source: dict[str, Any], field: str) -> list[Any]:
    """Every word of a source on a field, the one that counts first."""
    return [said for path in FIELDS[field] if (said := at(source, path)) is not None]


def reference(ranked: list[tuple[str, dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any], dict[str, str], int]:
    """Fields, other keys as they were said, who said what, and how many aliases disagree; strongest source first."""
    fields = {name: said[0] for name in FIELDS for said in [[w for _, s in ranked for w in told(s, name)[:1]]] if said}
    by = {name: next(who for who, s in ranked if told(s, name)) for name in fields}
    extras: dict[str, Any] = {}
    for key in dict.fromkeys(key for _, source in ranked for key in source):
        said = [(who, s[key]) for who, s in ranked if key in s and not carried(s, key)]
        heard = [(who, word) for who, word in said if word is not None]
        if heard or (said and key not in fields):
            who, extras[key] = (heard or said)[0]
            by.setdefault(key, who)
    clashes = sum(not same(word, told(s, name)[0]) for _, s in ranked for name in FIELDS for word in told(s, name)[1:])
    return fields, extras, by, clashes


def carried(source: dict[str, Any], key: str) -> bool:
    """Whether the source's field says this key's word, so that it needs no other place."""
    return key in FIELDS and bool(told(source, key)) and same(told(source, key)[0], source[key])


def check(amendment: Any, payment: Any, event: Any, request: Any, request_wins: bool) -> None:
    merged = merge(amendment=amendment, payment=payment, event=event, request=request, request_wins=request_wins)
    order = ["admin", "request", "payment", "event"] if request_wins else ["admin", "payment", "event", "request"]
    given_by = {"admin": amendment, "payment": payment, "event": event, "request": request}
    fields, extras, by, clashes = reference([(who, given_by[who]) for who in order if given_by[who] is not None])
    assert same(merged.fields, fields)
    assert same(merged.extras, extras)
    assert merged.sources == by
    assert len(merged.warnings) == clashes


@pytest.mark.parametrize("examples", [2_500, pytest.param(50_000, marks=pytest.mark.soak)])
def test_any_four_sources_merge_as_the_specification_says(examples: int) -> None:
    asked = given(sources, sources, sources, sources, st.booleans())
    settings(max_examples=examples, deadline=None)(asked(check))()
