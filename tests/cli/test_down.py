"""`coursaga down`: it says which home it is about, and deletes nothing that somebody at a terminal did not agree to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import up


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that was used, on which nothing runs."""
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    (home / "up.lock").touch()
    monkeypatch.setenv("COURSAGA_HOME", str(home))
    return home


def test_names_the_home_when_nothing_runs(home: Path, capsys: pytest.CaptureFixture[str]):
    assert up.down() == 0
    assert capsys.readouterr().out == f"{home}: nothing was running\n"
    assert up.down(json=True) == 0
    assert json.loads(capsys.readouterr().out)["home"] == str(home)
    assert (home / "logs").exists()


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_at_a_terminal_it_asks_before_it_deletes(home: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda *_: answer.strip())
    assert up.down(wipe_data=True) == (0 if gone else 1)
    assert home.exists() is not gone


@pytest.mark.parametrize("terminal", [True, False])
def test_who_says_yes_and_a_script_are_not_asked(home: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool):
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    assert up.down(wipe_data=True, yes=terminal) == 0
    assert not home.exists()


def test_a_folder_that_is_no_home_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [tmp_path / name / "mine" for name in ("logs", "temporal", "provider")]
    for file in kept:
        file.parent.mkdir()
        file.write_text("not of a stack")
    monkeypatch.setenv("COURSAGA_HOME", str(tmp_path))
    assert up.down(wipe_data=True, yes=True) == 0
    assert all(file.exists() for file in kept)
    assert "no data of a stack is there" in capsys.readouterr().out
