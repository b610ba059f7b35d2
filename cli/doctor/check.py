"""The result of a check of `coursaga doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

FINE, WRONG, UNREACHABLE = "fine", "wrong", "unreachable"
MAX_NAMED = 10  # runs, zones, lessons in one line; more are counted
NOT_RUNNING = "start everything with `coursaga up`, or set {}"


@dataclass(frozen=True)
class Check:
    """Result of one check. `state`: fine, wrong or unreachable; `remedy` is empty when it is fine."""

    name: str
    state: str
    says: str
    remedy: str = ""

    def report(self) -> dict[str, str]:
        """Return the check as `--json` prints it."""
        return asdict(self)
