"""What the saga does happens at the time of its clock, so that tests can skip time; nothing below it looks at another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Not here: leases, tries and ages of the outbox, of webhooks and of checkouts. Processes share these, and the database
# has the one clock that all of them see.
BY_THEIR_CALLER_S = sorted(
    [
        *(ROOT / "activities").glob("*.py"), *(ROOT / "domain").glob("*.py"), *(ROOT / "db" / "effects").glob("*.py"),
        *(ROOT / "db" / name for name in ("slot_holds.py", "ledger.py", "people.py", "requests.py", "starts.py", "closed_days.py")),
    ]
)  # fmt: skip
CLOCK = re.compile(
    r"\b(now|clock_timestamp|statement_timestamp|today|utcnow|monotonic)\(\)|CURRENT_|LOCALTIME|datetime\.now|time\.time"
)


@pytest.mark.parametrize("file", BY_THEIR_CALLER_S, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_time_is_told_by_the_caller(file: Path):
    assert CLOCK.findall(file.read_text()) == []
