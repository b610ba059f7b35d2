"""Resolve how many lessons a purchase has: once, stored with its source, used everywhere (mission rows 55, 75, C3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.whole_numbers import is_whole

TIERS = (10, 20, 30)
DEFAULT_COUNT = 30
LARGEST_COUNT = 1000


@dataclass(frozen=True)
class SessionCount:
    """How many lessons a purchase has. `source` is purchaseTier, sessionCount or default."""

    count: int
    source: str

    @property
    def warning(self) -> str | None:
        """A warning that the count was only assumed (mission row 75); None when it was given."""
        if self.source != "default":
            return None
        return f"neither purchaseTier nor sessionCount says how many lessons: {self.count} by default"


def resolve_session_count(fields: Mapping[str, Any]) -> SessionCount:
    """Return the tier if it is 10, 20 or 30, else `sessionCount` if 1..1000, else 30 (mission rows 33, 55, 75).

    Takes canonical fields. Only JSON integers count: "20", 20.0 and true are ignored. Never raises.
    """
    tier = _integer(fields.get("purchaseTier"))
    if tier in TIERS:
        return SessionCount(tier, "purchaseTier")
    count = _integer(fields.get("sessionCount"))
    if 1 <= count <= LARGEST_COUNT:
        return SessionCount(count, "sessionCount")
    return SessionCount(DEFAULT_COUNT, "default")


def _integer(value: object) -> int:
    """Return the JSON integer, or 0 for anything else: 0 is neither a tier nor a count."""
    return value if is_whole(value) else 0
