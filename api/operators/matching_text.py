"""Put a matching into plain sentences: why this trainer, why not that one."""

from __future__ import annotations

from typing import Any

from api.http.json_models import wall
from db.reads.matching import Matched, Unmatched

_STATUS = {"proposed": "is proposed and waits for a yes", "approved": "is approved", "cancelled": "was let go"}


def who(trainer_id: str, names: dict[str, str]) -> str:
    """Return a trainer's name and id."""
    name = names.get(trainer_id, trainer_id)
    return trainer_id if name == trainer_id else f"{name} ({trainer_id})"


def why_chosen(match: Matched, names: dict[str, str]) -> str:
    """Return why this trainer was chosen."""
    chosen, won = who(match.trainer_id, names), match.won
    if match.decided_by != "automatic":
        return f"{chosen} was chosen by {match.decided_by} and was free for all {match.lessons} lessons."
    if not won:
        return f"{chosen} was chosen; by what is not on record."
    return f"{chosen} {_comes_first(match, int(won['fitting']))}: {', '.join(_facts(won))}."


def why_not(trainer_id: str, reason: str, names: dict[str, str]) -> str:
    """Return why a trainer was not chosen."""
    return f"{who(trainer_id, names)} was not chosen: {reason}."


def why_nobody(refused: Unmatched) -> str:
    """Return why a search found nobody."""
    return f"No trainer was taken: {refused.message}."


def no_candidate(trainer_id: str, names: dict[str, str], item_id: str | None) -> str:
    """Return why a trainer was not even looked at."""
    known = f"did not teach {item_id} when it was decided" if trainer_id in names else "is no trainer known here"
    return f"{who(trainer_id, names)} was no candidate: {known}."


def what_became(match: Matched) -> str:
    """Return how the allocation stands."""
    since = f" on {match.cancelled_at:%Y-%m-%d %H:%M} UTC" if match.cancelled_at else ""
    return f"The allocation {_STATUS.get(match.status, match.status)}{since}."


def wall_of(match: Matched) -> str | None:
    """Return the student's wall time of the first lesson."""
    return wall(match.first_local)


def _comes_first(match: Matched, fitting: int) -> str:
    can = f"can give all {match.lessons} lessons"
    if match.held_before:
        return f"was held by the student before paying and {can}"
    if match.won["askedFor"]:
        return f"was asked for by name and {can}"
    among = f", of the first {match.won['lookedAt']} looked at" if "lookedAt" in match.won else ""
    if fitting == 1:
        return f"is the only one who {can}{among}"
    return f"comes first of the {fitting} who {can}{among}"


def _facts(won: dict[str, Any]) -> list[str]:
    """Return what is weighed, in its order."""
    last, away = won["lastAssignedAt"], won["distanceKm"]
    return [
        f"{won['load']} future lessons held",
        f"last assigned on {last[:10]}" if last else "never assigned before",
        *([] if away is None else [f"{away:g} km away"]),
    ]
