"""A small marketplace file with one of everything, and what tests do with it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from cli.marketplace.command import Imported, run_import
from runtime.settings import Settings
from tests.build import rows

DATA = Path(__file__).parents[2] / "data"
FILES = ("marketplace.json", "marketplace-rich.json")
TABLES = (
    "students", "catalogue_items", "bundle_subjects", "trainers", "trainer_courses", "trainer_availability",
    "trainer_blocked_days", "holidays", "cart_items", "payments", "payment_lines",
)  # fmt: skip

SMALL: dict[str, Any] = {
    "version": 1,
    "students": [
        {"id": "s1", "name": "Ann", "email": "ann@example.test", "coins": 5,
         "profile": {"timezone": "Europe/London", "latitude": 51.5, "longitude": None}},
        {"id": "s2", "name": "Bo", "email": "bo@example.test"},
    ],
    "courses": [{"id": "c1", "title": "Piano", "priceMinor": 100, "currency": "USD", "fulfilment": "sessions",
                 "open": True}],
    "subjects": [{"id": "j1", "title": "Physics", "priceMinor": 50, "currency": "USD"},
                 {"id": "j2", "title": "Maths", "priceMinor": 50, "currency": "USD"}],
    "bundles": [{"id": "b1", "title": "Both", "subjects": ["j2", "j1", "j2"], "priceMinor": 90, "currency": "USD"}],
    "tests": [{"id": "t1", "title": "Exam", "priceMinor": 9, "currency": "USD"}],
    "trainers": [{"id": "r1", "name": "Tim", "courses": ["c1"], "timezone": "Asia/Kolkata", "latitude": 1.5,
                  "longitude": 2, "radiusKm": 30, "maxGroupSize": 4, "blockedDays": ["2027-01-02", "2027-01-02"],
                  "availability": [{"weekday": 7, "from": "00:00", "to": "24:00"},
                                   {"weekday": 1, "from": "06:00", "to": "22:30"}]}],
    "holidays": ["2026-12-25"],
    "carts": [{"studentId": "s1", "items": [{"id": "cart-1", "itemType": "course", "itemId": "c1"},
                                            {"id": "keep-1", "itemType": "subject", "itemId": "j1"}]}],
    "payments": [{"id": "p1", "studentId": "s1", "status": "succeeded", "amountMinor": 150, "currency": "USD",
                  "createdAt": "2026-11-01T10:00:00+02:00", "lines": [
                      {"line": 1, "itemType": "course", "itemId": "c1", "amountMinor": 100, "coins": 0,
                       "metadata": {"courseId": "c1", "deep": {"x": [1, None, "é"]}, "purchaseTier": "20"}},
                      {"line": 2, "itemType": "course", "itemId": "c-unknown", "amountMinor": 50, "coins": 3}]}],
}  # fmt: skip


def small(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(SMALL), **changes}


def spoilt(path: str, new: Any) -> dict[str, Any]:
    """SMALL with one value replaced, `path` as in `trainers.0.radiusKm`."""
    file: Any = small()
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = file
    for step in steps:
        place = place[step]
    place[last] = new
    return file


async def imported(settings: Settings, content: object, folder: Path, **options: Any) -> Imported:
    file = folder / "file.json"
    file.write_text(json.dumps(content))
    return await run_import(file, settings, **options)


def everything(engine: Engine) -> dict[str, list[Any]]:
    """All rows with the transaction that wrote them last: equal before and after = nothing was written."""
    query = "SELECT xmin::text, to_jsonb(t) FROM {} AS t ORDER BY to_jsonb(t)"
    return {name: rows(engine, query.format(name)) for name in TABLES}


def told(result: Imported) -> dict[str, set[str]]:
    fields: dict[str, set[str]] = {}
    for one in result.differences:
        fields.setdefault(one.kind, set()).add(f"{one.key}.{one.field}")
    return fields
