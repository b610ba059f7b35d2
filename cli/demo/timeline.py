"""Read what a purchase did and when, step by step: its activities, local and other, from Temporal's history.

`GET /api/v1/purchases/{id}` keeps one time per step, the last; the demo also shows what was refused and when each
undo ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payloads
from temporalio.client import Client

from runtime.local_activities import local_activity_of
from workflows.steps import TABLE

UNDOS = frozenset(step.undo.__name__ for step in TABLE)


@dataclass(frozen=True)
class Happening:
    """One activity. `state`: running, done, undone, refused (a typed no, with its `code`) or trouble.

    `result`: its answer.
    """

    activity: str
    state: str
    began: datetime
    ended: datetime | None = None
    code: str = ""
    result: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def took_ms(self) -> int | None:
        """Milliseconds from scheduled to answered, None while it runs."""
        return round((self.ended - self.began).total_seconds() * 1000) if self.ended else None

    def report(self) -> dict[str, Any]:
        """Return the activity as `--json` prints it."""
        said = {"activity": self.activity, "state": self.state, "at": (self.ended or self.began).isoformat()}
        return {**said, "tookMs": self.took_ms, "code": self.code or None}


async def timeline(client: Client, workflow_id: str) -> list[Happening]:
    """Return every activity of the run, in the order in which they were scheduled."""
    seen: dict[int, Happening] = {}
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        at = _moment(event.event_time)
        if local := local_activity_of(event):
            if local.result is not None:  # else it is told by the activity that tries it once more
                state, result = _ended(local.name), await _answer(client, local.result)
                seen[event.event_id] = Happening(local.name, state, local.began, local.ended, result=result)
        elif event.HasField("activity_task_scheduled_event_attributes"):
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            seen[event.event_id] = Happening(name, "running", at)
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            began = seen[done.scheduled_event_id]
            result = await _answer(client, done.result)
            seen[done.scheduled_event_id] = replace(began, state=_ended(began.activity), ended=at, result=result)
        elif event.HasField("activity_task_failed_event_attributes"):
            failed = event.activity_task_failed_event_attributes
            info = failed.failure.application_failure_info
            state = "refused" if info.non_retryable else "trouble"
            code = info.type if info.non_retryable else "STEP_TROUBLE"
            seen[failed.scheduled_event_id] = replace(seen[failed.scheduled_event_id], state=state, ended=at, code=code)
        elif event.HasField("activity_task_timed_out_event_attributes"):
            scheduled = event.activity_task_timed_out_event_attributes.scheduled_event_id
            seen[scheduled] = replace(seen[scheduled], state="trouble", ended=at, code="STEP_TROUBLE")
    return list(seen.values())


def _ended(activity: str) -> str:
    return "undone" if activity in UNDOS else "done"


async def _answer(client: Client, result: Payloads) -> dict[str, Any]:
    values = await client.data_converter.decode(result.payloads)
    return cast("dict[str, Any]", values[0]) if values and isinstance(values[0], dict) else {}


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
