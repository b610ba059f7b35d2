"""Months in seconds: the server moves a run's clock on, and the run's activities are told what time it is there.

Every run has a clock of its own, which a child inherits; activities run by the clock on the wall unless they are told.
So the workflow says with each activity, in a header, what time it is, and the worker's clock repeats it: as a moment
after NOW, so that a test knows its days whenever it runs.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from tests.build import NOW

_HEADER = "time-of-the-run"
_told: ContextVar[datetime] = ContextVar(_HEADER)


class TimeOfTheRun(Interceptor):
    """For a worker: its interceptor, and the clock of its activities. The time at which it is made is NOW."""

    def __init__(self) -> None:
        self._began = datetime.now(UTC)

    def __call__(self) -> datetime:
        """What time it is for the activity that asks."""
        return NOW + (_told.get() - self._began)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Listening(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Telling(outbound))


class _Telling(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        now = Payload(data=workflow.now().isoformat().encode())
        return super().start_activity(replace(input, headers={**input.headers, _HEADER: now}))


class _Listening(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        _told.set(datetime.fromisoformat(input.headers[_HEADER].data.decode()))
        return await super().execute_activity(input)
