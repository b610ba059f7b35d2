"""Records one history per scenario: `python -m tests.temporal.record` (`make histories`).

Only to be run when a change of the workflow is meant to break with running purchases, or for a new scenario;
otherwise the recorded files stay as they are, which is their worth.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from temporalio.worker import Worker

from runtime.settings import Settings
from runtime.temporal import connect, ensure_search_attributes
from tests.servers import temporal_server
from tests.temporal.conftest import QUEUE
from tests.temporal.fakes import Fakes, order_of
from tests.temporal.scenarios import SCENARIOS, Scenario
from tests.temporal.test_engine_endings import ending_of
from workflows.expiry import ExpiryInput, ExpiryWorkflow
from workflows.purchase import PurchaseInput, PurchaseWorkflow

FOLDER = Path(__file__).parents[1] / "histories"


async def record(only_new: bool) -> list[str]:
    """Play every scenario on a real server and write its history; the names written."""
    with tempfile.TemporaryDirectory() as home, temporal_server(Path(home)) as address:
        client = await connect(Settings(temporal_address=address))
        await ensure_search_attributes(client)
        fakes = Fakes()
        wanted = [name for name in SCENARIOS if not (only_new and (FOLDER / f"{name}.json").exists())]
        workflows = [PurchaseWorkflow, ExpiryWorkflow]
        async with Worker(client, task_queue=QUEUE, workflows=workflows, activities=fakes.activities()):

            async def play(name: str, scenario: Scenario) -> None:
                order = order_of(f"p-{uuid4()}")
                for step, outcomes in scenario.plan.items():
                    fakes.plan(order, step, *outcomes)
                told, start = PurchaseWorkflow.run, PurchaseInput(order, scenario.rules)
                if scenario.of_access:
                    told, start = ExpiryWorkflow.run, ExpiryInput(order, scenario.rules)
                handle = await client.start_workflow(told, start, id=order.workflow_id, task_queue=QUEUE)
                for happening in scenario.then:
                    await happening(handle)
                ended = await ending_of(handle)
                if ended != scenario.ending:
                    raise SystemExit(f"{name} ended as {ended}, not {scenario.ending}")
                FOLDER.mkdir(exist_ok=True)
                (FOLDER / f"{name}.json").write_text(compact((await handle.fetch_history()).to_json()))

            await asyncio.gather(*(play(name, SCENARIOS[name]) for name in wanted))
    return wanted


def compact(history: str) -> str:
    """One line, without stack traces: replay does not need them, and they name places of the machine."""
    plain = json.loads(history, object_hook=lambda part: {k: v for k, v in part.items() if k != "stackTrace"})
    return json.dumps(plain, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    names = asyncio.run(record(only_new="--new" in sys.argv))
    sys.stdout.write(f"{len(names)} histories in {FOLDER.name}/\n")
