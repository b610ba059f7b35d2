"""Checks of `coursaga doctor` in Temporal: the server, search attributes, workers, runs that do not go on."""

from __future__ import annotations

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError

from cli.doctor.check import FINE, MAX_NAMED, NOT_RUNNING, UNREACHABLE, WRONG, Check
from gateways.task_queue import polling
from runtime.embedded.temporal_binary import REMEDIES, locate, server_version
from runtime.settings import Settings
from runtime.temporal import RPC, TemporalUnreachable, attribute_gaps, connect
from workflows.attributes import REPORTED_PROBLEMS


def temporal_program(settings: Settings) -> Check:
    """Check for the program of an embedded Temporal server; it is not needed when a server is named or runs."""
    if settings.temporal_address:
        return Check("temporal program", FINE, "not needed, a server is named or runs")
    if found := locate():
        return Check("temporal program", FINE, f"{found} (server {server_version(found)})")
    return Check("temporal program", WRONG, "not installed, none on PATH", REMEDIES)


async def temporal(settings: Settings) -> list[Check]:
    """Check that the server answers, has our search attributes and workers, and that no run fails or is paused."""
    try:
        client = await connect(settings, seconds=5)
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC)
        server = f"{settings.temporal_address}, server {info.server_version}, namespace {client.namespace}"
        return [
            Check("temporal", FINE, server),
            await _attributes(client),
            await pollers(client, settings.task_queue),
            await _problems(client),
            await _paused(client),
        ]
    except (TemporalUnreachable, RPCError) as error:
        return [Check("temporal", UNREACHABLE, str(error), NOT_RUNNING.format("TEMPORAL_ADDRESS"))]


async def _attributes(client: Client) -> Check:
    gaps = await attribute_gaps(client)
    if not gaps.absent and not gaps.wrong:
        return Check("search attributes", FINE, "all there, of the right types")
    remedy = "make them with `temporal operator search-attribute create`, as docker-compose.yml does"
    return Check("search attributes", WRONG, f"absent: {gaps.absent}, of another type: {gaps.wrong}", remedy)


async def pollers(client: Client, task_queue: str) -> Check:
    seen = await polling(client, task_queue, RPC)
    if seen.served:
        return Check(
            "workers", FINE, f"{len(seen.workers[seen.current])} polled {task_queue!r} lately ({seen.current})"
        )
    if not seen.workers:
        return Check("workers", WRONG, f"nobody polls {task_queue!r}", "start one with `coursaga worker`")
    remedy = "run `coursaga release` with the code of those workers, or start workers of the current build"
    return Check("workers", WRONG, f"of {task_queue!r} {seen.fault}", remedy)


async def _problems(client: Client) -> Check:
    """Check for runs whose workflow tasks keep failing: nothing is lost or undone, and no operator can help."""
    query = f"{REPORTED_PROBLEMS.name} IS NOT NULL AND ExecutionStatus = 'Running'"
    count = (await client.count_workflows(query, rpc_timeout=RPC)).count
    if not count:
        return Check("workflow code", FINE, "no run reports a problem")
    ids = [run.id async for run in client.list_workflows(query, limit=MAX_NAMED, rpc_timeout=RPC)]
    remedy = "an engineer is needed: deploy a worker with a fix, they go on by themselves"
    return Check("workflow code", WRONG, f"{count} runs fail in our code: {', '.join(ids)}", remedy)


async def _paused(client: Client) -> Check:
    """Check for runs that somebody paused: purchases, ends of access, holds, sweeps; none goes on by itself."""
    query = "ExecutionStatus = 'Paused'"
    count = (await client.count_workflows(query, rpc_timeout=RPC)).count
    if not count:
        return Check("paused runs", FINE, "none")
    remedy = f'see `temporal workflow list --query "{query}"`; each goes on after `temporal workflow unpause`'
    return Check("paused runs", WRONG, f"{count} are paused by hand", remedy)
