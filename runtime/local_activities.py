"""Read local activities from a history, in which the SDK keeps each as a marker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent

_MARKER = "core_local_activity"


@dataclass(frozen=True)
class LocalActivity:
    """One local activity with all its tries. `result` None: it failed, and is followed by an activity of its name.

    The SDK takes its two moments from two clocks, some milliseconds apart; it never ends before it began.
    """

    name: str
    began: datetime
    ended: datetime
    result: Payloads | None


def local_activity_of(event: HistoryEvent) -> LocalActivity | None:
    """Return the local activity that this event records; None if it records something else."""
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != _MARKER:
        return None
    about = cast("dict[str, Any]", json.loads(marker.details["data"].payloads[0].data))
    recorded = event.event_time.ToDatetime(tzinfo=UTC)
    began = _moment(about.get("original_schedule_time"), recorded)
    return LocalActivity(
        about["activity_type"],
        began,
        max(began, _moment(about.get("complete_time"), recorded)),
        None if marker.HasField("failure") else marker.details["result"],
    )


def _moment(stamp: dict[str, int] | None, otherwise: datetime) -> datetime:
    return datetime.fromtimestamp(stamp["seconds"] + stamp["nanos"] / 1e9, UTC) if stamp else otherwise
