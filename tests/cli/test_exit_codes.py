"""What commands exit with, as README says: 1 failed, 2 usage, 3 a server is not reachable; and that none makes a home."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.stack import COURSAGA, ROOT, Commands, environment
from tests.waiting import in_time

NOWHERE = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d", "TEMPORAL_ADDRESS": "127.0.0.1:1",
    "PROVIDER_URL": "http://127.0.0.1:1", "API_URL": "http://127.0.0.1:1", "COURSAGA_TOKEN": "t",
}  # fmt: skip
KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
MARKET = str(ROOT / "cli" / "demo" / "marketplace.json")
ASKS_THE_API = [
    "purchases list", "purchases show p", "purchases case p", "purchases acts p", "purchases matching p",
    "purchases watch --once", "purchases start p", "purchases retry-now p --reason r", "purchases cancel p --reason r",
    "lessons list p", "dlq list", "dlq show 1", "webhooks list", "webhooks add https://x.test", "webhooks remove x",
]  # fmt: skip
SERVES = ["worker", "relay", "api", "migrate", "consume"]
OTHERS = ["doctor", "token --role admin --subject ann", f"import {MARKET}"]
EVERY = ["up", "down", "demo", "bench", *SERVES, *OTHERS, *ASKS_THE_API]


def run(home: Path, words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return Commands(environment(home, **settings)).call(*words.split(), seconds=90)


def exits(home: Path, words: str, code: int, **settings: str) -> str:
    """Runs it, and it exits with this code, in words, and leaves no home behind; what it said."""
    done = run(home, words, **settings)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not home.exists(), "it made a home"
    return done.stdout + done.stderr


@pytest.mark.parametrize("words", [*SERVES, *OTHERS, *ASKS_THE_API])
def test_with_no_stack_there_is_no_server(words: str, tmp_path: Path) -> None:
    kafka = KAFKA if words == "consume" else {}
    assert "coursaga up" in exits(tmp_path / "home", words, 3, **kafka)


@pytest.mark.parametrize("words", ["down", "down --wipe"])
def test_with_no_stack_there_is_nothing_to_stop(words: str, tmp_path: Path) -> None:
    assert str(tmp_path / "home") in exits(tmp_path / "home", words, 0)
    assert "nothing was running" in exits(tmp_path / "home", words, 0)


def test_down_leaves_nothing_in_a_folder_that_is_no_home(tmp_path: Path) -> None:
    assert run(tmp_path, "down").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_token_is_told_which_home_was_looked_in(tmp_path: Path) -> None:
    said = exits(tmp_path / "home", "token --role admin --subject ann", 3)
    assert f"no stack has run in {tmp_path / 'home'}" in said


@pytest.mark.parametrize("words", ["worker", "migrate", "doctor", "purchases show p", "dlq show 1"])
def test_a_server_that_does_not_answer_is_named(words: str, tmp_path: Path) -> None:
    assert "127.0.0.1" in exits(tmp_path / "home", words, 3, **NOWHERE).replace("\n", "")


@pytest.mark.parametrize("words", ["relay", "consume"])
def test_what_serves_waits_for_a_server_that_is_away(words: str, tmp_path: Path) -> None:
    """As after a night in which all of it was restarted in no order. It ends when it is asked to."""
    log = tmp_path / "log"
    given = environment(tmp_path / "home", **NOWHERE, **KAFKA)
    with log.open("w") as said:
        process = subprocess.Popen([COURSAGA, words], env=given, cwd=ROOT, stdout=said, stderr=said)
    waits = {"relay": "relay_waits", "consume": "consumer_serves"}[words]
    in_time(log.read_text, lambda said: waits in said or process.poll() is not None)
    assert process.poll() is None, log.read_text()
    process.terminate()
    assert process.wait(60) == 0, log.read_text()


@pytest.mark.parametrize("words", EVERY)
def test_an_option_that_is_none_is_usage(words: str, tmp_path: Path) -> None:
    assert "--nonsense" in exits(tmp_path / "home", f"{words} --nonsense", 2)


@pytest.mark.parametrize("words", SERVES + OTHERS)
def test_a_setting_that_is_wrong_is_named(words: str, tmp_path: Path) -> None:
    assert "API_PORT" in exits(tmp_path / "home", words, 1, API_PORT="many")


@pytest.mark.parametrize("words", ["purchases", "lessons", "nonsense", "purchases list --ending nonsense"])
def test_words_that_are_none(words: str, tmp_path: Path) -> None:
    code = 0 if words in ("purchases", "lessons") else 2  # a group alone shows its help
    exits(tmp_path / "home", words, code)


def test_a_failed_connection_never_ends_a_process_by_a_signal(tmp_path: Path) -> None:
    """A thread of Temporal's SDK would crash one in ten that are taken down in the usual way: some have to be tried."""
    ends: list[int] = []
    for _ in range(2):
        together = [
            subprocess.Popen(
                [COURSAGA, "worker"], env=environment(tmp_path / "home", **NOWHERE), cwd=ROOT, stderr=subprocess.DEVNULL
            )
            for _ in range(os.cpu_count() or 2)
        ]
        ends += [process.wait(60) for process in together]
    assert set(ends) == {3}
