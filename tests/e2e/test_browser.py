"""How a Chromium is found, and installed where there is none; the programs are small scripts, the search is the real one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.browser import NAMES, NoBrowser, ensure, locate

RUNS = "#!/bin/sh\nexit 0\n"
FAILS = "#!/bin/sh\nexit 1\n"
SUDO = '#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n'
# Stands for apt-get: notes each call; the n-th install works, n in $WORKS_AT.
APT_GET = """#!/bin/sh
echo "$DEBIAN_FRONTEND" "$@" >> "$PATH/calls"
[ "$1" = install ] || exit 0
echo . >> "$PATH/installs"
[ "$(/usr/bin/wc -l < "$PATH/installs")" -ge "$WORKS_AT" ] || { echo "no such package"; exit 100; }
printf '#!/bin/sh\\nexit 0\\n' > "$PATH/chromium"
/bin/chmod +x "$PATH/chromium"
"""


def program(file: Path, text: str = RUNS) -> Path:
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder on PATH: no browser, no apt-get."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    (tmp_path / "env").symlink_to(shutil.which("env") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def debian(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same on a Debian where we may install: as root, or by sudo."""
    for name, text in {"apt-get": APT_GET, "dpkg": RUNS, "sudo": SUDO, "true": RUNS}.items():
        program(path / name, text)
    monkeypatch.setenv("WORKS_AT", "1")
    return path


def calls(path: Path) -> list[str]:
    return (path / "calls").read_text().splitlines()


def test_the_named_one_comes_before_those_on_path(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path / "chromium")
    monkeypatch.setenv("CHROMIUM", str(program(tmp_path / "mine")))
    assert ensure() == tmp_path / "mine"


def test_a_named_one_that_does_not_run_is_an_error(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(debian / "chromium")
    monkeypatch.setenv("CHROMIUM", "/nowhere/chrome")
    with pytest.raises(NoBrowser, match=r"CHROMIUM is /nowhere/chrome, which does not run(.|\n)*apt-get install"):
        ensure()


def test_the_first_on_path_that_runs_is_taken_and_nothing_installed(debian: Path) -> None:
    for name, text in zip(NAMES, (FAILS, RUNS, RUNS), strict=True):
        program(debian / name, text)
    assert ensure() == debian / NAMES[1]
    assert not (debian / "calls").exists()


def test_debians_package_is_installed_and_tried_twice(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKS_AT", "2")
    said: list[str] = []
    assert ensure(said.append) == debian / "chromium"
    assert [line.split()[-1] for line in calls(debian)] == ["update", "chromium"] * 2
    assert calls(debian)[1].startswith("noninteractive install --yes --no-install-recommends")
    assert len(said) == 1


def test_a_failed_install_shows_its_end_and_the_remedies(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKS_AT", "3")
    with pytest.raises(NoBrowser, match=r"no such package(.|\n)*set CHROMIUM"):
        ensure()


def test_without_root_or_apt_get_the_remedies_are_named(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(debian / "sudo", FAILS)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoBrowser, match=r"needs root(.|\n)*set CHROMIUM"):
        ensure()
    (debian / "apt-get").unlink()
    with pytest.raises(NoBrowser, match=r"no apt-get(.|\n)*set CHROMIUM"):
        ensure()


def test_a_test_without_one_fails_with_the_remedies(path: Path) -> None:
    with pytest.raises(NoBrowser, match=r"is on PATH and runs(.|\n)*set CHROMIUM"):
        locate()
