"""How large a purchase is in Temporal: events and bytes of its history, and the payloads in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from cli.bench.meter import average
from cli.bench.with_workflow import histories
from domain.purchase import PurchaseOrder


async def measure_sizes(client: Client, orders: Sequence[PurchaseOrder]) -> dict[str, Any]:
    """Return the mean events and bytes of these histories, and the payloads of the last of them."""
    kept = await histories(client, orders)
    sizes = await _payloads(client, orders[-1])
    return {
        "historyEvents": average([events for events, _ in kept]),
        "historyBytes": average([size for _, size in kept]),
        "payloads": len(sizes),
        "payloadBytes": sum(sizes),
        "largestPayloadBytes": max(sizes),
    }


async def _payloads(client: Client, order: PurchaseOrder) -> list[int]:
    handle = client.get_workflow_handle(order.workflow_id)
    return [payload.ByteSize() async for event in handle.fetch_history_events() for payload in _in(event)]


def _in(message: Message) -> Iterator[Message]:
    """Yield every payload anywhere in the message."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in _each(value):
            if isinstance(each, Message):
                yield from _in(each)


def _each(value: Any) -> list[Any]:
    if isinstance(value, Message):
        return [value]
    return list(value.values()) if hasattr(value, "values") else list(value)
