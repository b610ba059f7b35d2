"""An hour is lost: a stack is backed up at one moment while purchases run, goes on, and is put back as it was then.

What the payment provider did stays done: it is another machine. PostgreSQL goes through the scripts of production. The
embedded Temporal server keeps its state in a file; all are frozen while it is copied, so that the two are of one moment
as they are where both are on one PostgreSQL.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from runtime.embedded.postgres import wipe_postgres
from runtime.temporal import connect_to
from tests.cluster import client_programs
from tests.e2e.world import World, add_harpist, course, market, payment, teachers, world_in
from tests.invariants import violations, violations_of_runs
from tests.stack import Up

SCRIPTS = Path(__file__).parents[2] / "deploy" / "backup"
FROZEN = ("worker", "relay", "api", "temporal")


def market_of(*paid: dict[str, Any]) -> dict[str, Any]:
    return market(paid, map(course, ("course-piano", "course-harp")), teachers("course-piano", 8))


BEFORE = market_of(
    payment("whole"), payment("unbegun"), payment("repaid", "course-harp"), payment("repaying", "course-harp"),
    payment("waiting", "course-harp"), payment("taken-back", "course-harp"),
)  # fmt: skip
LOST = market_of(payment("lost"), payment("lost-repaid", "course-harp"))


@pytest.fixture
def home() -> Iterator[Path]:
    """Passable for the account PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="coursaga-"))
    folder.chmod(0o755)
    yield folder
    wipe_postgres(folder)
    shutil.rmtree(folder, ignore_errors=True)


def script(stack: Up, home: Path, name: str, *words: object) -> str:
    url = make_url(stack.said["databaseUrl"])
    server = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password}
    owner = pwd.getpwuid((home / "postgres" / "data").stat().st_uid).pw_name
    own = {"PATH": f"{client_programs()}:{os.environ['PATH']}", "DATABASES": "coursaga", "OWNER": owner}
    done = subprocess.run(
        ["/bin/sh", str(SCRIPTS / f"{name}.sh"), *map(str, words)],
        env=own | {key: str(value) for key, value in server.items()},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def frozen(stack: Up, *names: str) -> Iterator[None]:
    """These processes stand still."""
    pids = [stack.said["pids"][name] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def hurry(world: World, name: str) -> None:
    """It goes on by itself, too, and may have ended meanwhile: then the answer is 409."""
    body = {"reason": "a test is in a hurry", "requestKey": "hurry"}
    world.api.post(f"/api/v1/admin/purchases/purchase:{name}:1/retry_now", json=body)


def given_back(world: World) -> dict[str, int]:
    """How often money of each payment was given back."""
    done = world.provider.get("/_ledger").json()
    return Counter(one["paymentId"] for one in done if one["operation"] == "refund" and one["status"] == 200)


def taken(world: World) -> list[tuple[str, str]]:
    """What was charged, or changed by anything but a refund."""
    done = world.provider.get("/_ledger").json()
    return sorted((one["operation"], one["paymentId"]) for one in done if one["operation"] != "refund")


async def test_an_hour_is_lost_and_nobody_pays_or_is_paid_twice(home: Path) -> None:
    backups, temporal = home / "backups", home / "temporal"
    backups.mkdir()
    with world_in(home) as then:
        then.load(BEFORE)
        refusing = {
            "operation": "refund",
            "paymentId": "repaying",
            "times": 9,
            "action": "timeout_before",
            "seconds": 0,
        }
        then.provider.post("/_faults", json=[refusing]).raise_for_status()
        then.start("whole", "repaid", "repaying", "waiting", "taken-back")
        then.wait("whole", "completed")
        for name in ("repaid", "repaying", "waiting", "taken-back"):
            then.wait(name, "attention", "NO_TRAINER_AVAILABLE")
        then.act("repaid", "cancel")
        then.wait("repaid", "cancelled")
        then.act("repaying", "cancel")
        then.wait("repaying", "attention", "REFUND_UNKNOWN")
        before = {name: then.row(name) for name in ("whole", "repaid")}

        # The moment of the backup: one has just been started, one is being undone, two wait.
        with frozen(then.stack, "worker"):
            then.start("unbegun")
            with frozen(then.stack, *FROZEN[1:]):
                made = script(then.stack, home, "backup", backups)
                shutil.copytree(temporal, backups / "temporal")

        # The hour that will be lost.
        then.provider.delete("/_faults").raise_for_status()
        hurry(then, "repaying")
        then.wait("repaying", "cancelled")
        then.wait("unbegun", "completed")
        then.act("taken-back", "cancel")
        then.wait("taken-back", "cancelled")
        then.load(LOST)
        then.start("lost", "lost-repaid")
        then.wait("lost-repaid", "attention", "NO_TRAINER_AVAILABLE")
        then.act("lost-repaid", "cancel")
        then.wait("lost-repaid", "cancelled")
        add_harpist(then, "waiting")
        then.wait("waiting", "completed")
        then.wait("lost", "completed")
        charged, repaid = taken(then), given_back(then)
        assert repaid == {"repaid": 1, "repaying": 1, "taken-back": 1, "lost-repaid": 1}

    script(then.stack, home, "restore", "--replace", made, (home / "postgres" / "data").resolve())
    shutil.rmtree(temporal)
    shutil.copytree(backups / "temporal", temporal)

    with world_in(home) as now:
        # By itself: what was ended is as it was, what ran goes on.
        assert {name: now.row(name) for name in before} == before
        now.wait("unbegun", "completed")
        hurry(now, "repaying")
        now.wait("repaying", "cancelled")
        for name in ("waiting", "taken-back"):
            now.wait(name, "attention", "NO_TRAINER_AVAILABLE")
        assert now.api.get("/api/v1/purchases/purchase:lost:1").status_code == 404
        assert now.api.post("/api/v1/purchases", json={"paymentId": "lost"}).status_code == 404

        # By the operator, as docs/backup.md says: what the provider gave back first, then what was entered, then --all.
        client = await connect_to(now.stack.said["temporalAddress"], "default")
        with frozen(now.stack, "worker"):
            await client.get_workflow_handle("purchase:taken-back:1").cancel()
        now.wait("taken-back", "cancelled")
        add_harpist(now, "waiting")
        now.wait("waiting", "completed")
        now.load(LOST)
        assert now.stack.json("purchases", "start", "--all")["failed"] == 0
        now.wait("lost", "completed")
        now.wait("lost-repaid", "refused", "PAYMENT_NOT_SUCCEEDED")

        assert (taken(now), given_back(now)) == (charged, repaid)
        engine = create_engine(now.stack.said["databaseUrl"])
        try:
            assert await violations_of_runs(engine, client) == []
            found = violations(engine, str(now.provider.base_url).rstrip("/"))
        finally:
            engine.dispose()
        # A refund of the lost hour is the provider's alone: no row of ours is of it, as docs/backup.md says.
        assert {(rule[:2], rule.split(":")[2]) for rule in found} == {("I3", "taken-back"), ("I3", "lost-repaid")}
