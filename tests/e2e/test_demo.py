"""`coursaga demo` as a user runs it: the three endings, and nothing left running, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.demo.story import DemoFailed, within
from tests.stack import COURSAGA, commands


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home for a demo; whatever a failed test leaves on it is ended."""
    yield tmp_path
    for process in processes_on(tmp_path):
        process.kill()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `coursaga demo --once --json` says, with the processes it left under `left`."""
    home = tmp_path_factory.mktemp("demo")
    said = commands(home).json("demo", "--once")
    return {**said, "left": [process.cmdline() for process in processes_on(home)]}


def processes_on(home: Path) -> list[psutil.Process]:
    """Every living process that was told this home, by its command line or by its environment."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _knows(process, str(home))]


def _knows(process: psutil.Process, home: str) -> bool:
    try:
        words = [*process.cmdline(), *process.environ().values()]
        return process.status() != psutil.STATUS_ZOMBIE and any(home in word for word in words)
    except psutil.Error:
        return False


def start(home: Path, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
    env = {**commands(home).env, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    return subprocess.Popen([COURSAGA, "demo", *words], env=env, **streams)


def test_the_first_purchase_becomes_all_its_lessons(told: dict[str, Any]) -> None:
    bought = told["purchases"][0]
    assert (bought["ending"], bought["code"], bought["refunded"]) == ("completed", None, False)
    assert bought["sessions"]["count"] == bought["sessionCount"] == 20
    assert (bought["sessions"]["firstLocal"], bought["sessions"]["lastLocal"]) == (
        "2026-11-23T18:00",  # the Monday after the day that is fixed
        "2026-12-18T18:00",
    )
    assert bought["trainer"]["trainerId"] == "trainer-tara"
    assert "not available" in bought["trainer"]["lost"]["trainer-tom"]
    assert bought["undos"] == []


def test_the_second_is_undone_in_reverse_and_refunded_to_the_last_penny(told: dict[str, Any]) -> None:
    bought = told["purchases"][1]
    assert (bought["ending"], bought["code"], bought["refunded"]) == ("refused", "COURSE_UNAVAILABLE", True)
    assert bought["undos"] == ["void_purchase", "refund_payment"]
    undone = {step["step"] for step in bought["steps"] if step["state"] == "undone"}
    assert undone == {"confirm_payment"}  # the purchase was never made, so nobody is told that it was undone
    assert bought["provider"] == {"status": "refunded", "refundedMinor": bought["amountMinor"]}
    assert bought["sessions"]["count"] == 0


def test_the_third_waits_for_a_trainer_and_completes_once_there_is_one(told: dict[str, Any]) -> None:
    bought = told["purchases"][2]
    assert bought["attention"]["reason"] == "NO_TRAINER_AVAILABLE"
    assert bought["attention"]["nextRetry"] > bought["attention"]["since"]
    assert bought["attention"]["nextAction"]
    tries = [one["state"] for one in bought["happenings"] if one["activity"] == "assign_trainer"]
    assert tries[0] == "refused"
    assert tries[-1] == "done"
    assert (bought["ending"], bought["sessions"]["count"], bought["refunded"]) == ("completed", 10, False)
    assert bought["trainer"]["trainerId"] == "trainer-vera"


def test_nothing_is_left_running_afterwards(told: dict[str, Any]) -> None:
    assert told["ok"] is True
    assert set(told["pids"]) == {"up", "postgres", "temporal", "provider", "worker", "relay", "api"}
    assert told["left"] == []


def test_an_interrupt_in_the_middle_stops_everything(home: Path) -> None:
    process = start(home, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    while line := process.stderr.readline():
        if line.startswith(b"1. Ada"):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    said = json.loads(rest)
    assert (process.returncode, said["ok"], said["error"]) == (130, False, "interrupted")
    assert processes_on(home) == []


def test_on_a_terminal_it_stays_up_until_ctrl_c(home: Path) -> None:
    terminal, its_end = pty.openpty()
    process = start(home, stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True)
    os.close(its_end)
    shown = read_until(terminal, b"Ctrl-C stops everything")
    for words in (b"needs attention", b"completed", b"refused and made whole", b"/docs", b"purchase%3Apay-ben%3A1"):
        assert words in shown
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    read_until(terminal, b"")
    os.close(terminal)
    assert process.wait(120) == 0
    assert processes_on(home) == []


def read_until(terminal: int, words: bytes) -> bytes:
    """What a terminal shows until these words are there; to the end without words."""
    shown = b""
    while not (words and words in shown):
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other side is closed
            assert not words, shown.decode(errors="replace")[-3000:]
            return shown
    return shown


async def test_a_phase_that_never_ends_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("the database is away\n")
    with pytest.raises(DemoFailed, match=r"buying: not done within 0 s; look into .*worker\.log(.|\n)*is away"):
        async with within(0.01, "buying", log):
            await asyncio.Event().wait()
