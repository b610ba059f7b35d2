"""Make the demo's marketplace: `marketplace.json` in the import format, its lessons moved to begin next week."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("marketplace.json")
_MONDAY = date(2027, 1, 4)  # the week in which the file's lessons begin
_ALL_WEEK = [{"weekday": day, "from": "08:00", "to": "21:00"} for day in range(1, 8)]

# Nobody teaches the violin until the story adds her, as the body of PUT /api/v1/admin/trainers/{id}.
NEW_TRAINER_ID = "trainer-vera"
NEW_TRAINER: dict[str, Any] = {
    "name": "Vera Iyer",
    "courses": ["course-violin"],
    "timezone": "Asia/Kolkata",
    "place": {"latitude": 12.98, "longitude": 77.6},
    "radiusKm": 25,
    "availability": _ALL_WEEK,
}


def marketplace(today: date, mark: str = "") -> dict[str, Any]:
    """Return the file with every first lesson moved by whole weeks to the week after `today`.

    `mark` is put behind the payment ids: a Temporal server that outlives the demo has seen them without it.
    """
    market = json.loads(_FILE.read_text())
    moved = today + timedelta(days=7 - today.weekday()) - _MONDAY
    for payment in market["payments"]:
        payment["id"] += mark
        for line in payment["lines"]:
            for key in {"startDate", "date"} & line["metadata"].keys():
                line["metadata"][key] = (date.fromisoformat(line["metadata"][key]) + moved).isoformat()
    return market
