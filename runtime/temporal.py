"""Connect to Temporal, and keep the search attributes that purchases are listed by.

What crosses Temporal are dataclasses of plain values; every client made here, and so every worker, reads them as
`runtime.payloads` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.envconfig import ClientConfig
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from runtime.errors import CannotRun, ServerUnreachable
from runtime.payloads import DATA_CONVERTER
from runtime.settings import Settings
from workflows.attributes import SEARCH_ATTRIBUTES

RPC = timedelta(seconds=5)  # one call; the SDK's own retries would hide ten


class TemporalUnreachable(ServerUnreachable):
    """No Temporal server answered; the message names the address."""


class SearchAttributesWrong(CannotRun):
    """A search attribute has another type, or could not be created; the message says which and what to do."""


async def connect(
    settings: Settings, *, lazy: bool = False, seconds: float = 10.0, runtime: Runtime | None = None
) -> Client:
    """Connect to TEMPORAL_ADDRESS; raise TemporalUnreachable after `seconds`.

    `lazy` connects with the first call, so that the API starts without Temporal; workers need a connection at once.
    TEMPORAL_API_KEY and TEMPORAL_TLS_* are read as the SDK reads them.
    """
    if not settings.temporal_address:
        raise TemporalUnreachable("no Temporal server: TEMPORAL_ADDRESS is not set and no stack runs (`coursaga up`)")
    address, namespace = settings.temporal_address, settings.temporal_namespace
    return await connect_to(address, namespace, lazy=lazy, seconds=seconds, runtime=runtime)


def metered(address: str) -> Runtime:
    """Return an SDK runtime that serves its metrics to Prometheus at this `host:port`; make one per process."""
    serve = PrometheusConfig(bind_address=address, durations_as_seconds=True)
    return Runtime(telemetry=TelemetryConfig(metrics=serve))


async def connect_to(
    address: str, namespace: str, *, lazy: bool = False, seconds: float = 10.0, runtime: Runtime | None = None
) -> Client:
    """Connect to this server; raise TemporalUnreachable after `seconds`."""
    config = cast("dict[str, Any]", {**ClientConfig.load_client_connect_config(disable_file=True)})
    config |= {"target_host": address, "namespace": namespace, "lazy": lazy, "runtime": runtime}
    config["data_converter"] = DATA_CONVERTER
    try:
        return await asyncio.wait_for(Client.connect(**config), seconds)
    except (RuntimeError, TimeoutError) as error:  # the SDK's connection error is a plain RuntimeError
        reason = str(error) or f"no answer within {seconds:g} s"
        raise TemporalUnreachable(f"no Temporal server at {address}: {reason}") from None


@dataclass(frozen=True)
class AttributeGaps:
    """How the server's search attributes differ from ours: `absent` names; `wrong` maps a name to "has X, wants Y"."""

    absent: list[str]
    wrong: dict[str, str]


async def attribute_gaps(
    client: Client, wanted: Mapping[str, SearchAttributeIndexedValueType] = SEARCH_ATTRIBUTES
) -> AttributeGaps:
    """Compare the namespace's search attributes with the wanted ones, by name and type."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=RPC
    )
    here = {**answer.system_attributes, **answer.custom_attributes}
    return AttributeGaps(
        absent=[name for name in wanted if name not in here],
        wrong={
            name: f"has {IndexedValueType.Name(here[name])}, wants {IndexedValueType.Name(_number(kind))}"
            for name, kind in wanted.items()
            if name in here and here[name] != _number(kind)
        },
    )


async def ensure_search_attributes(
    client: Client, wanted: Mapping[str, SearchAttributeIndexedValueType] = SEARCH_ATTRIBUTES
) -> list[str]:
    """Create the absent search attributes and return their names; raise SearchAttributesWrong if a type differs."""
    gaps = await attribute_gaps(client, wanted)
    if gaps.wrong:
        raise SearchAttributesWrong(f"search attributes of another type in {client.namespace!r}: {gaps.wrong}")
    if gaps.absent:
        await _add(client, {name: wanted[name] for name in gaps.absent})
        left = await attribute_gaps(client, wanted)
        if left.absent or left.wrong:
            raise SearchAttributesWrong(f"search attributes are not as added: {left.absent} {left.wrong}")
    return gaps.absent


async def _add(client: Client, attributes: Mapping[str, SearchAttributeIndexedValueType]) -> None:
    request = AddSearchAttributesRequest(
        namespace=client.namespace, search_attributes={name: _number(kind) for name, kind in attributes.items()}
    )
    try:
        await client.operator_service.add_search_attributes(request, timeout=RPC)
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return  # somebody else starts at the same time
        by_hand = " ".join(f"--name {name} --type {kind.name.title()}" for name, kind in attributes.items())
        raise SearchAttributesWrong(
            f"{error.message}; make them by hand: temporal operator search-attribute create {by_hand}"
        ) from None


async def answers(client: Client) -> bool:
    """Return whether the server answers for this namespace."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), timeout=RPC
        )
    except RPCError:
        return False
    return True


async def keep_closed_runs(client: Client, days: int) -> None:
    """Set for how many days the namespace keeps closed workflows."""
    keep = NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=days * 86400))
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(namespace=client.namespace, config=keep), timeout=RPC
    )


def _number(kind: SearchAttributeIndexedValueType) -> IndexedValueType.ValueType:
    return cast("IndexedValueType.ValueType", int(kind))
