"""`coursaga up` from outside: real processes, signals as a terminal or a bad day would send them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from temporalio.common import WorkflowIDReusePolicy

from db.sealing import Seal
from runtime.embedded.data_guard import DataGuard
from runtime.embedded.stack import Stack
from runtime.settings import Settings
from runtime.state import find
from runtime.temporal import connect_to
from tests.stack import COURSAGA, PATIENCE, ROOT, Commands, Up, environment, up
from tests.waiting import in_time


def run(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return Commands(environment(home, **settings)).call(*words)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("stack")
    with up(home) as stack:
        yield stack
    run(home, "down", "--wipe")


def test_prints_where_everything_is_once_the_api_is_ready(stack: Up):
    assert stack.said["ready"] is True
    assert set(stack.said["pids"]) == {"up", "postgres", "temporal", "provider", "worker", "relay", "api"}
    with urlopen(f"{stack.said['api']}/readyz", timeout=10) as answer:
        assert answer.status == 200
    with urlopen(stack.said["docs"], timeout=10) as answer:
        assert answer.status == 200
    with urlopen(stack.said["temporalUi"], timeout=10) as answer:
        assert answer.status == 200
    assert stack.ask("SELECT count(*) FROM alembic_version") == 1


def test_other_commands_with_the_same_home_find_it(stack: Up):
    found = find(stack.home)
    assert found is not None
    assert found.report() == stack.said


def test_secrets_are_stored_under_a_key_of_its_own(stack: Up):
    key = stack.home / "secrets-key"
    assert key.stat().st_mode & 0o777 == 0o600
    added = stack.call("webhooks", "add", "https://93.184.215.14/hook", "--event", "NEVER_TOLD", "--json")
    assert added.returncode == 0, added.stderr
    made = json.loads(added.stdout)
    sealed = stack.ask("SELECT sealed_secret FROM webhook_targets")
    assert Seal([key.read_text()]).open(sealed) == made["secret"]
    assert stack.call("webhooks", "remove", made["id"]).returncode == 0


def test_events_are_told(stack: Up):
    stack.ask("INSERT INTO outbox (key, type, occurred_at) VALUES ('purchase:1:A', 'A', now())")
    in_time(lambda: stack.ask("SELECT count(*) FROM outbox WHERE published_at IS NULL"), lambda left: left == 0)


def test_doctor_finds_everything_fine(stack: Up):
    done = stack.call("doctor", "--json")
    report = json.loads(done.stdout)
    assert [check for check in report["checks"] if check["state"] != "fine"] == []
    assert (report["ok"], done.returncode) == (True, 0)


def test_doctor_says_what_does_not_run_and_what_to_do(home: Path):
    done = run(home, "doctor", "--json")
    lost = {check["name"]: check["remedy"] for check in json.loads(done.stdout)["checks"] if check["state"] != "fine"}
    assert set(lost) == {"postgresql", "temporal", "payment provider", "api"}
    assert all("coursaga up" in remedy for remedy in lost.values())
    assert done.returncode == 3


def test_a_second_one_on_the_same_home_is_refused(stack: Up):
    done = stack.call("up", "--json")
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert done.stdout == ""


def test_migrating_again_changes_nothing(stack: Up):
    done = stack.call("migrate", "--json")
    assert (json.loads(done.stdout), done.returncode) == ({"migrated": True, "roles": []}, 0)


def test_a_killed_worker_is_started_again(stack: Up):
    before = stack.said["pids"]["worker"]
    os.kill(before, signal.SIGKILL)

    def other_worker() -> bool:
        found = find(stack.home)
        return found is not None and found.pids.get("worker", before) != before

    in_time(other_worker)


def test_a_second_stack_runs_beside_it_and_down_wipes_that_one_only(stack: Up, home: Path):
    with up(home) as other:
        assert other.ask("SELECT count(*) FROM payments") == 0
        urls = ("api", "temporalUi", "temporalAddress", "databaseUrl")
        assert not {stack.said[key] for key in urls} & {other.said[key] for key in urls}
        (home / "notes.txt").write_text("mine")
        done = other.call("down", "--wipe", "--json")
        assert json.loads(done.stdout) == {
            "stopped": True, "pid": other.process.pid, "wiped": True, "home": str(home),
        }  # fmt: skip
        assert other.end(None) == 0
    assert other.left() == []
    assert sorted(path.name for path in home.iterdir()) == ["notes.txt", "said"]
    with urlopen(f"{stack.said['api']}/healthz", timeout=10) as answer:
        assert answer.status == 200


def test_named_servers_are_used_and_neither_started_nor_stopped(stack: Up, home: Path):
    running = find(stack.home)
    assert running is not None
    named = {
        "DATABASE_URL": running.database_url,
        "TEMPORAL_ADDRESS": running.temporal_address,
        "PROVIDER_URL": running.provider_url,
    }
    with up(home, **named) as other:
        assert set(other.said["pids"]) == {"up", "worker", "relay", "api"}
        assert other.said["databaseUrl"] == running.database_url
    assert {"postgres", "temporal", "provider"}.isdisjoint(os.listdir(home))
    assert stack.ask("SELECT 1") == 1


async def test_data_survives_a_kill_and_a_clean_stop_leaves_nothing(home: Path):
    first = Up(home)
    first.ask("CREATE TABLE kept AS SELECT 42 AS answer")
    client = await connect_to(first.said["temporalAddress"], "default")
    await client.start_workflow(
        "Any", id="kept", task_queue="nobody", id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE
    )
    assert first.end(signal.SIGKILL) == -signal.SIGKILL

    second = Up(home)
    assert second.ask("SELECT answer FROM kept") == 42
    client = await connect_to(second.said["temporalAddress"], "default")
    assert (await client.get_workflow_handle("kept").describe()).id == "kept"
    assert first.left() == []

    assert second.end(signal.SIGINT) == 0
    assert second.left() == []
    assert find(home) is None
    assert not (home / "stack.json").exists()


def test_a_stop_while_starting_leaves_nothing(home: Path):
    with (home / "said").open("w") as said:
        process = subprocess.Popen([COURSAGA, "up"], env=environment(home), cwd=ROOT, stdout=said, stderr=said)
    in_time(lambda: "starting PostgreSQL" in (home / "said").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert not (home / "stack.json").exists()
    assert "ready" not in (home / "said").read_text()


def test_down_is_fine_where_nothing_runs(home: Path):
    done = run(home, "down", "--json")
    assert (json.loads(done.stdout)["stopped"], done.returncode) == (False, 0)


def test_data_without_its_other_half_is_refused_with_the_way_out(home: Path):
    parts = {"postgres": "data", "temporal": "temporal.db", "provider": "ledger.db"}
    together = DataGuard(home, {name: home / name / file for name, file in parts.items()})
    together.claim()
    together.settle()
    for name, file in parts.items():
        (home / name / file).touch()
    shutil.rmtree(home / "temporal")
    done = run(home, "up", "--json")
    assert done.returncode == 1
    assert "temporal is missing" in done.stderr
    assert "coursaga down --wipe" in done.stderr


def test_a_taken_port_is_told_by_the_setting_s_name(stack: Up, home: Path):
    done = run(home, "up", "--json", API_PORT=stack.said["api"].rsplit(":", 1)[1])
    assert done.returncode == 1
    assert "set API_PORT" in done.stderr
    assert not (home / "stack.json").exists()


def test_code_can_have_a_stack_of_its_own_and_stop_parts_of_it(home: Path):
    settings = Settings.model_validate({"coursaga_home": home, "api_port": 0, "temporal_ui_port": 0})
    stack = Stack(settings, workers=0)
    with stack as running:
        stack.stop_part("postgres")
        stack.tend()
        assert "postgres" not in stack.running.pids, "what was stopped on purpose stays stopped"
        stack.start_part("postgres")
        with psycopg.connect(running.database_url.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert find(home) is None


@pytest.mark.parametrize("words", [["nonsense"], ["down", "now"]])
def test_wrong_usage_exits_with_2(home: Path, words: list[str]):
    assert run(home, *words).returncode == 2


def test_a_wrong_setting_is_told_by_name(home: Path):
    done = run(home, "up", API_PORT="99999")
    assert done.returncode == 1
    assert done.stderr.startswith("API_PORT:")


def test_a_database_that_does_not_answer_exits_with_3(home: Path):
    done = run(home, "migrate", DATABASE_URL="postgresql://nobody:x@127.0.0.1:1/none")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
