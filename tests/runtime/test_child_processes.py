"""Processes that we start: none outlives a killed parent, one that dies shows its log; ports that are free."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.child_processes import Child, StartFailed, command_of, end, free_ports, gone, identity

SLEEP = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(600)"]
# A parent that starts one child, tells its id, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from runtime.child_processes import Child
child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_never_outlives_a_parent_killed_by_force(tmp_path: Path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    known_as = identity(pid)
    assert known_as
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid, known_as, 30)


def test_a_stop_kills_a_child_that_will_not_go(tmp_path: Path):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    child = Child("stubborn", [sys.executable, "-c", stubborn], tmp_path / "log", patience=0.1)
    child.start()
    child.wait_until(lambda: "deaf" in child.log.read_text(), 30)
    child.stop()
    assert not child.alive


def test_a_child_that_dies_while_starting_shows_the_end_of_its_log(tmp_path: Path):
    child = Child("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")
    child.start()
    with pytest.raises(StartFailed, match=r"broken stopped while starting(.|\n)*no such thing"):
        child.wait_until(lambda: False, 30)


def test_the_end_of_a_log_is_that_of_the_last_start_only(tmp_path: Path):
    for text in ("first", "second"):
        child = Child("broken", [sys.executable, "-c", f"raise SystemExit('{text}')"], tmp_path / "log")
        child.start()
        with pytest.raises(StartFailed) as failed:
            child.wait_until(lambda: False, 30)
    assert "second" in str(failed.value)
    assert "first" not in str(failed.value)


def test_a_process_is_told_from_a_later_one_of_the_same_id(tmp_path: Path):
    child = Child("sleeper", SLEEP, tmp_path / "log")
    child.start()
    assert child.pid is not None
    assert identity(child.pid) != identity(os.getpid())
    assert end(child.pid, "somebody else", signal.SIGKILL)
    assert child.alive
    child.stop()


def test_a_dead_process_has_no_identity_and_no_command(tmp_path: Path):
    child = Child("sleeper", SLEEP, tmp_path / "log")
    child.start()
    child.wait_until(lambda: "\non" in child.log.read_text(), 30)
    pid = child.pid
    assert pid is not None
    assert "time.sleep(600)" in command_of(pid)
    child.stop()
    assert identity(pid) is None
    assert command_of(pid) == ""


def test_a_taken_port_is_refused_with_the_setting_to_change():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(StartFailed, match=rf"port {port} is taken.*set API_PORT"):
            free_ports({"API_PORT": port})


def test_ports_picked_together_differ():
    ports = free_ports({str(number): 0 for number in range(20)})
    assert len(set(ports.values())) == 20


def test_a_picked_port_is_none_that_outgoing_connections_may_take():
    lowest_of_linux = 32_768
    assert all(port < lowest_of_linux for port in free_ports({str(number): 0 for number in range(20)}).values())
