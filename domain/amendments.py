"""What was settled of a purchase, with an operator's word laid over it: the admin wins (spec section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from domain.acts import SCHEDULE
from domain.metadata import CANONICAL
from domain.session_count import resolve_session_count

# How the warnings begin that say what the schedule, and the number of lessons, made us assume.
_OF_THE_START, _OF_THE_COUNT = "startDate ", "neither purchaseTier nor sessionCount "


@dataclass(frozen=True)
class PurchaseTerms:
    """What the purchase row holds of its metadata; `series_start` None: not decided (any more)."""

    fields: dict[str, Any]
    sources: dict[str, str]
    extras: dict[str, Any]
    warnings: list[str]
    session_count: int
    session_count_source: str
    series_start: date | None


def amended(settled: PurchaseTerms, values: Mapping[str, Any]) -> PurchaseTerms:
    """The operator's fields over what was settled, marked `admin`; a null says nothing.

    A count that is given (tier first) is the new count, whatever tier was paid for. A schedule that changes leaves the
    first day open, to be decided anew. Warnings about what is no longer so are dropped.
    """
    given = {name: value for name, value in values.items() if name in CANONICAL and value is not None}
    after = replace(
        settled, fields={**settled.fields, **given}, sources={**settled.sources, **dict.fromkeys(given, "admin")}
    )
    count = resolve_session_count(given)
    if count.source != "default":
        after = replace(
            after,
            session_count=count.count,
            session_count_source=count.source,
            warnings=[said for said in after.warnings if not said.startswith(_OF_THE_COUNT)],
        )
    if moves(settled, values):
        after = replace(
            after, series_start=None, warnings=[said for said in after.warnings if not said.startswith(_OF_THE_START)]
        )
    return after


def without_lessons(settled: PurchaseTerms) -> PurchaseTerms:
    """Of an item that brings no lessons: nothing was assumed of any."""
    return replace(settled, warnings=[said for said in settled.warnings if not said.startswith(_OF_THE_COUNT)])


def moves(settled: PurchaseTerms, values: Mapping[str, Any]) -> bool:
    """Whether the values ask for other times than the settled ones."""
    return any(values.get(name) not in (None, settled.fields.get(name)) for name in SCHEDULE)


def overrides(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `create_sessions` as an amendment; empty when they ask for nothing but the lessons."""
    named = {"sessionCount" if name == "count" else name: value for name, value in values.items()}
    return {name: value for name, value in named.items() if value is not None}


def last_day_of_access(fields: Mapping[str, Any]) -> tuple[date | None, list[str]]:
    """The last day of access (mission row 57); a date that cannot be read gives open-ended access and a warning."""
    given = fields.get("expiryDate")
    if given is None:
        return None, []
    try:
        return date.fromisoformat(given[:10]), []
    except (TypeError, ValueError):
        return None, ["expiryDate is no date: access does not end"]
