"""Apply an operator's amendment to the settled terms of a purchase: the admin's value wins (spec section 5)."""

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
    """What a purchase row stores of its metadata; `series_start` is None while the first day is not decided."""

    fields: dict[str, Any]
    sources: dict[str, str]
    extras: dict[str, Any]
    warnings: list[str]
    session_count: int
    session_count_source: str
    series_start: date | None


def amended(settled: PurchaseTerms, values: Mapping[str, Any]) -> PurchaseTerms:
    """Return the settled terms with the operator's fields put over them, marked `admin`; a null changes nothing.

    A given count (tier first) becomes the new count, whatever tier was paid for. A changed schedule clears
    `series_start`, so that the first day is decided anew. Warnings that no longer hold are dropped.
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
    """Return the terms without the warning about an assumed number of lessons, for an item that brings no lessons."""
    return replace(settled, warnings=[said for said in settled.warnings if not said.startswith(_OF_THE_COUNT)])


def moves(settled: PurchaseTerms, values: Mapping[str, Any]) -> bool:
    """Return whether the values ask for another schedule than the settled one."""
    return any(values.get(name) not in (None, settled.fields.get(name)) for name in SCHEDULE)


def overrides(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `create_sessions` as an amendment; empty when no value is given."""
    named = {"sessionCount" if name == "count" else name: value for name, value in values.items()}
    return {name: value for name, value in named.items() if value is not None}


def last_day_of_access(fields: Mapping[str, Any]) -> tuple[date | None, list[str]]:
    """Return the last day of access, and warnings (mission row 57). Access without a readable date is open-ended."""
    given = fields.get("expiryDate")
    if given is None:
        return None, []
    try:
        return date.fromisoformat(given[:10]), []
    except (TypeError, ValueError):
        return None, ["expiryDate is no date: access does not end"]
