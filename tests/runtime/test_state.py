"""What a running stack tells others of itself: found while it lives, forgotten when it is gone."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.child_processes import Child
from runtime.settings import Settings
from runtime.state import AlreadyRuns, Home, Running, attached, find

RUNNING = Running(
    pid=1,
    api="http://127.0.0.1:8000",
    docs="http://127.0.0.1:8000/docs",
    console=None,
    temporal_ui="http://127.0.0.1:8233",
    temporal_address="127.0.0.1:7233",
    database_url="postgresql+psycopg://u:p@127.0.0.1:5432/d",
    provider_url="http://127.0.0.1:9000",
    pids={"up": 1},
)
HOLDER = """
import sys
from pathlib import Path
from runtime.state import Home
home = Home(Path(sys.argv[1]))
home.lock()
print("held", flush=True)
sys.stdin.read()
"""


def test_there_is_no_stack_where_nothing_ever_was(tmp_path: Path):
    assert find(tmp_path / "nowhere") is None
    assert not (tmp_path / "nowhere").exists()


def test_a_ready_stack_is_found(tmp_path: Path):
    home = Home(tmp_path)
    home.lock()
    home.write({}, RUNNING)
    assert find(tmp_path) == RUNNING
    home.unlock()


def test_a_starting_stack_is_not_found_yet(tmp_path: Path):
    home = Home(tmp_path)
    home.lock()
    home.write({}, None)
    assert find(tmp_path) is None
    home.unlock()


def test_a_stack_whose_process_is_gone_is_not_found(tmp_path: Path):
    home = Home(tmp_path)
    home.lock()
    home.write({}, RUNNING)
    home.unlock()
    assert find(tmp_path) is None


def test_a_damaged_state_file_is_no_stack(tmp_path: Path):
    home = Home(tmp_path)
    home.lock()
    (tmp_path / "stack.json").write_text('{"pid": 1')
    assert find(tmp_path) is None
    home.unlock()


def test_the_state_file_is_readable_by_its_owner_only(tmp_path: Path):
    Home(tmp_path).write({}, RUNNING)
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600


def test_a_second_stack_on_the_same_home_is_refused_until_the_first_is_gone(tmp_path: Path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert first.stdin is not None
    first.stdout.readline()
    second = Home(tmp_path)
    with pytest.raises(AlreadyRuns, match="coursaga down"):
        second.lock()
    first.kill()
    first.wait()
    first.stdout.close()
    first.stdin.close()
    second.lock()
    second.unlock()


def test_what_a_killed_stack_left_over_is_ended(tmp_path: Path):
    left = Child("left", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    left.start()
    assert left.pid is not None
    home = Home(tmp_path)
    home.write({"left": (left.pid, signal.SIGKILL)}, None)
    home.end_leftovers()
    assert not left.alive
    assert not (tmp_path / "stack.json").exists()


def test_a_process_that_merely_got_a_leftover_s_id_is_left_alone(tmp_path: Path):
    other = Child("other", [sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log")
    other.start()
    assert other.pid is not None
    home = Home(tmp_path)
    home.write({"left": (other.pid, signal.SIGKILL)}, None)
    file = tmp_path / "stack.json"
    state = json.loads(file.read_text())
    state["children"]["left"]["known_as"] = "another"
    file.write_text(json.dumps(state))
    home.end_leftovers()
    assert other.alive
    other.stop()


def test_the_report_has_exactly_the_promised_keys():
    promised = ["ready", "api", "docs", "console", "temporalUi", "temporalAddress", "databaseUrl", "pids"]
    assert list(RUNNING.report()) == promised


def test_commands_get_the_addresses_of_the_running_stack_where_none_are_set(tmp_path: Path):
    home = Home(tmp_path)
    home.lock()
    home.write({}, RUNNING)
    own = Settings.model_validate(
        {"coursaga_home": tmp_path, "database_url": None, "temporal_address": "mine:1", "provider_url": None}
    )
    joined = attached(own)
    assert joined.database_url == SecretStr(RUNNING.database_url)
    assert joined.provider_url == RUNNING.provider_url
    assert joined.temporal_address == "mine:1"
    home.unlock()


@pytest.mark.parametrize("own", [None, True, False])
def test_a_worker_joins_as_the_stack_does_unless_it_is_told_otherwise(tmp_path: Path, own: bool | None):
    place = Home(tmp_path)
    place.lock()
    place.write({}, replace(RUNNING, versioned=True))
    said = attached(Settings(coursaga_home=tmp_path, worker_versioning=own))
    assert said.worker_versioning is (True if own is None else own)
    place.unlock()
