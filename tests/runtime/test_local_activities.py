"""What is read of a local activity from the marker that records it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent

from runtime.local_activities import LocalActivity, local_activity_of

BEGAN = 1_795_255_200


@pytest.mark.parametrize(("completed", "ended"), [(BEGAN + 2, BEGAN + 2), (BEGAN - 1, BEGAN)])
def test_it_never_ends_before_it_began(completed: int, ended: int) -> None:
    """The SDK stamps both moments, each by a clock of its own."""
    about = {
        "activity_type": "enroll",
        "original_schedule_time": {"seconds": BEGAN, "nanos": 0},
        "complete_time": {"seconds": completed, "nanos": 0},
    }
    event, result = HistoryEvent(), Payloads(payloads=[Payload(data=b"{}")])
    marker = event.marker_recorded_event_attributes
    marker.marker_name = "core_local_activity"
    marker.details["data"].CopyFrom(Payloads(payloads=[Payload(data=json.dumps(about).encode())]))
    marker.details["result"].CopyFrom(result)
    began, end = (datetime.fromtimestamp(moment, UTC) for moment in (BEGAN, ended))
    assert local_activity_of(event) == LocalActivity("enroll", began, end, result)
