"""The embedded Temporal server: search attributes, retention, workflows that survive a kill, ports taken in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeIndexedValueType, SearchAttributePair, TypedSearchAttributes

from runtime.child_processes import StartFailed
from runtime.embedded.temporal_binary import ensure
from runtime.embedded.temporal_server import RETENTION_DAYS, TemporalServer
from runtime.settings import Settings
from runtime.temporal import (
    SearchAttributesWrong,
    TemporalUnreachable,
    attribute_gaps,
    connect,
    connect_to,
    ensure_search_attributes,
)
from workflows.attributes import PAYMENT_ID

SCRIPT = Path(__file__).parents[2] / "deploy" / "temporal" / "namespace.sh"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    server = TemporalServer(tmp_path_factory.mktemp("temporal"), namespace="shop")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(server: TemporalServer) -> Client:
    return await connect_to(server.address, "shop")


async def started(client: Client) -> str:
    """A workflow that nobody works on, found by a search attribute of ours."""
    workflow_id = f"purchase:{uuid4()}:1"
    attributes = TypedSearchAttributes([SearchAttributePair(PAYMENT_ID, workflow_id)])
    await client.start_workflow("Any", id=workflow_id, task_queue="nobody", search_attributes=attributes)
    return workflow_id


async def test_has_all_search_attributes_once_it_answers(client: Client):
    gaps = await attribute_gaps(client)
    assert (gaps.absent, gaps.wrong) == ([], {})


async def test_remembers_closed_workflows_for_weeks(client: Client):
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="shop"))
    assert answer.config.workflow_execution_retention_ttl.ToTimedelta().days == RETENTION_DAYS


async def test_the_script_of_production_makes_the_namespace_and_may_run_again(server: TemporalServer):
    given = {"TEMPORAL_ADDRESS": server.address, "TEMPORAL_NAMESPACE": "store", "RETENTION": "30d"}
    given["PATH"] = f"{ensure().parent}:{os.environ['PATH']}"
    for _ in range(2):
        await asyncio.to_thread(subprocess.run, ["sh", SCRIPT], env=given, capture_output=True, check=True)
    store = await connect_to(server.address, "store")
    gaps = await attribute_gaps(store)
    assert (gaps.absent, gaps.wrong) == ([], {})
    answer = await store.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="store"))
    assert answer.config.workflow_execution_retention_ttl.ToTimedelta().days == 30


async def test_a_new_search_attribute_is_added_once(client: Client):
    wanted = {f"Later{uuid4().hex[:8]}": SearchAttributeIndexedValueType.KEYWORD}
    assert await ensure_search_attributes(client, wanted) == list(wanted)
    assert await ensure_search_attributes(client, wanted) == []


async def test_a_search_attribute_of_another_type_is_refused_by_name(client: Client):
    wanted = {"PaymentId": SearchAttributeIndexedValueType.INT}
    with pytest.raises(SearchAttributesWrong, match=r"PaymentId.*KEYWORD.*INT"):
        await ensure_search_attributes(client, wanted)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
async def test_a_running_workflow_survives(tmp_path: Path, how: signal.Signals):
    server = TemporalServer(tmp_path)
    try:
        client = await connect_to(server.start(), "default")
        workflow_id = await started(client)
        assert server.pid is not None
        os.kill(server.pid, how)
        again = await connect_to(server.start(), "default")
        found = await again.get_workflow_handle(workflow_id).describe()
        assert found.status is WorkflowExecutionStatus.RUNNING
        assert found.typed_search_attributes[PAYMENT_ID] == workflow_id
    finally:
        server.stop()


def test_data_of_another_minor_version_is_refused_with_the_way_out(tmp_path: Path):
    server = TemporalServer(tmp_path)
    server.data.parent.mkdir()
    server.data.touch()
    server.data.with_name("server-version").write_text("1.29.1")
    with pytest.raises(StartFailed, match=r"1\.29\.1.*coursaga down --wipe"):
        server.start()


def test_a_port_that_somebody_took_in_between_is_met_with_another_start(tmp_path: Path):
    program, tried = tmp_path / "program", tmp_path / "tried"
    taken = f"if [ $1 = server ] && [ ! -e {tried} ]; then touch {tried}; echo bind: address already in use; exit 1; fi"
    program.write_text(f'#!/bin/sh\n{taken}\nexec {ensure()} "$@"\n')
    program.chmod(0o755)
    server = TemporalServer(tmp_path, program=program)
    picked = server.address
    try:
        assert server.start() == server.address != picked
        assert tried.exists()
    finally:
        server.stop()


async def test_a_server_that_does_not_answer_is_named(tmp_path: Path):
    address = TemporalServer(tmp_path).address  # free, nobody listens
    with pytest.raises(TemporalUnreachable, match=address):
        await connect(Settings.model_validate({"temporal_address": address}), seconds=2)


async def test_no_address_and_no_stack_is_told():
    with pytest.raises(TemporalUnreachable, match="coursaga up"):
        await connect(Settings.model_validate({"temporal_address": None}))


async def test_a_lazy_client_needs_no_server_to_be_made(tmp_path: Path):
    address = TemporalServer(tmp_path).address
    assert await connect(Settings.model_validate({"temporal_address": address}), lazy=True)
