"""What Temporal UI, its CLI or a stranger may send as the input of a message, byte for byte; and sending it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType, UpdateWorkflowExecutionLifecycleStage
from temporalio.api.failure.v1 import Failure
from temporalio.api.update.v1 import Input, Meta, Request, WaitPolicy
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest, UpdateWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle

Handle = WorkflowHandle[Any, Any]
SIGNALED = "WORKFLOW_EXECUTION_SIGNALED"


def payload(data: bytes, encoding: str = "json/plain", **metadata: str) -> Payload:
    told = {"encoding": encoding, **metadata} if encoding else metadata
    return Payload(metadata={name: value.encode() for name, value in told.items()}, data=data)


def of(value: Any) -> Payload:
    return payload(json.dumps(value).encode())


UNREADABLE: dict[str, Payload] = {
    "no JSON": payload(b"{actor: ann"),
    "empty": payload(b""),
    "no UTF-8": payload(b'"\xff"'),
    "nested without end": payload(b"[" * 50_000),
    "an encoding nobody knows": payload(b"hm", "json/secret"),
    "no encoding": payload(b"{}", ""),
    "a null that is something": payload(b"x", "binary/null"),
    "a message nobody knows": payload(b"{}", "json/protobuf", messageType="shop.Cart"),
}
NO_OBJECT: dict[str, Payload] = {
    "null": of(None),
    "nothing": payload(b"", "binary/null"),
    "a text": of("ann"),
    "a number": of(7),
    "a list": of([{"actor": "ann"}]),
    "bytes": payload(b"\0\1", "binary/plain"),
}
GOOD = of({"actor": "ann", "reason": "why", "request_key": "k"})
SINGLE = {name: [each] for name, each in {**UNREADABLE, **NO_OBJECT}.items()}
ANYTHING: dict[str, list[Payload]] = {
    "no input": [],
    **SINGLE,
    "several": [GOOD, of({"actor": "bob"}), of(3)],
    "several, none of them readable": [*UNREADABLE.values()],
    "a hundred": [of(n) for n in range(100)],
}


async def signal(client: Client, handle: Handle, name: str, payloads: Sequence[Payload]) -> None:
    request = SignalWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=handle.id),
        signal_name=name,
        input=Payloads(payloads=payloads),
        request_id=str(uuid4()),
    )
    await client.workflow_service.signal_workflow_execution(request)


async def update(client: Client, handle: Handle, name: str, payloads: Sequence[Payload]) -> Failure:
    """Sends it and waits for the outcome; why it was refused."""
    stage = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED
    request = UpdateWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=handle.id),
        wait_policy=WaitPolicy(lifecycle_stage=stage),
        request=Request(meta=Meta(update_id=str(uuid4())), input=Input(name=name, args=Payloads(payloads=payloads))),
    )
    answer = await client.workflow_service.update_workflow_execution(request)
    return answer.outcome.failure


async def heard(handle: Handle, signals: int) -> list[str]:
    """Waits until that many signals were seen by workflow tasks that went well; the history's events by name.

    The test's timeout bounds it: a task that fails is tried for ever.
    """
    while True:
        events = [EventType.Name(each.event_type)[11:] for each in (await handle.fetch_history()).events]
        assert "WORKFLOW_TASK_FAILED" not in events
        if events.count(SIGNALED) == signals:
            later = events[::-1]
            if "WORKFLOW_TASK_COMPLETED" in later[: later.index(SIGNALED)]:
                return events
        await asyncio.sleep(0.02)
