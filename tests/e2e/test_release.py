"""Builds of the code, one after the other, on real servers: purchases go on with the new one, or it is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.temporal import connect_to
from tests.e2e.world import course, market, payment, teachers, world_in
from tests.stack import COURSAGA, Commands, Up

ROOT = Path(__file__).parents[2]
# What somebody might do without a second thought: the student is enrolled once there is a trainer.
BEFORE = """            await saga.run(ENROLL)
"""


@contextmanager
def worker(stack: Up, build: str) -> Iterator[Commands]:
    """`coursaga worker` of another build, and the commands of that build."""
    own = Commands({**stack.env, "COURSAGA_BUILD": build})
    with subprocess.Popen([COURSAGA, "worker"], env=own.env, stderr=subprocess.DEVNULL) as process:
        try:
            yield own
        finally:
            process.terminate()
            assert process.wait(60) == 0


def changed(folder: Path) -> Path:
    """A folder whose `workflows` enroll nobody: from it, `python -m cli.main` runs that code."""
    shutil.copytree(ROOT / "workflows", folder / "workflows", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "workflows" / "purchase.py"
    source = file.read_text()
    assert source.count(BEFORE) == 1, "the edit no longer fits the code"
    file.write_text(source.replace(BEFORE, ""))
    return folder


def run_in(folder: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words], cwd=folder, env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


async def builds_of(stack: Up, workflow_id: str) -> list[str]:
    """Which build did each workflow task of a run."""
    client = await connect_to(stack.said["temporalAddress"], "default")
    events = client.get_workflow_handle(workflow_id).fetch_history_events()
    done = [event.workflow_task_completed_event_attributes async for event in events]
    return [task.deployment_version.build_id for task in done if task.deployment_version.build_id]


def workers_check(stack: Up) -> dict[str, Any]:
    told = json.loads(
        subprocess.run([COURSAGA, "doctor", "--json"], env=stack.env, capture_output=True, check=False).stdout
    )
    return next(check for check in told["checks"] if check["name"] == "workers")


async def test_purchases_go_on_with_a_new_build_and_a_breaking_one_is_refused(tmp_path: Path) -> None:
    home, broken = tmp_path / "home", changed(tmp_path / "broken")
    home.mkdir()
    paid = [payment("parked", classTime=None), payment("waiting", "course-harp")]
    with world_in(home, COURSAGA_BUILD="build-a") as world:
        stack, api = world.stack, world.api
        world.load(market(paid, map(course, ("course-piano", "course-harp")), teachers("course-piano", 8)))
        for name, code in (("parked", "METADATA_INCOMPLETE"), ("waiting", "NO_TRAINER_AVAILABLE")):
            world.start(name)
            world.wait(name, "attention", code)

        with worker(stack, "build-b") as build_b:
            released = build_b.json("release")
            assert (released["before"], released["current"]) == ("build-a", "build-b")
            assert released["replayed"]["PurchaseWorkflow"] == released["open"]["PurchaseWorkflow"] == 2
            world.act("parked", "amend", changes={"timeSlot": "18:00"})
            world.wait("parked", "completed")
            builds = await builds_of(stack, "purchase:parked:1")
            assert (builds[0], builds[-1]) == ("build-a", "build-b")

            refused = run_in(broken, {**stack.env, "COURSAGA_BUILD": "build-c"}, "release", "--json")
            assert refused.returncode == 1, refused.stderr
            told = json.loads(refused.stdout)
            assert [run["workflow_id"] for run in told["broken"]] == ["purchase:waiting:1"]
            assert (told["released"], "nothing was changed" in told["fault"]) == (False, True)
            assert "build-b" in workers_check(stack)["says"]
            assert run_in(broken, {**stack.env, "COURSAGA_BUILD": "build-c"}, "release", "--check").returncode == 1

            # Back to the build before, by its own code: the workers of `up` are still there.
            assert "cannot replay for build-a" in refusal(build_b, "release", "--build", "build-a")
            assert stack.json("release")["current"] == "build-a"
        assert stack.json("release")["before"] == "build-a"
        gone = stack.json("release", "--build", "build-z", "--no-replay", "--seconds", "0", exits=1)
        assert "no worker of it polls" in gone["fault"]
        assert api.get("/readyz").status_code == 200

    # `up` with code that breaks the purchase that still waits starts no worker.
    again = run_in(broken, {**stack.env, "COURSAGA_BUILD": "build-c"}, "up", "--json")
    assert (again.returncode, again.stdout) == (1, "")
    for said in ("may not go on with the runs that are open", "purchase:waiting:1", "workflow.patched"):
        assert said in again.stderr


def refusal(own: Commands, *words: str) -> str:
    done = subprocess.run([COURSAGA, *words], env=own.env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout
    return done.stderr
