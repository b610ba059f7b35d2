"""In which order a Temporal server is found; the programs are small scripts, the search is the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.temporal_binary import NoTemporalServer, cached, cli_version, ensure, locate, server_version

SERVER = '#!/bin/sh\necho "temporal version 0.0.0-DEV (Server 1.31.2, UI 2.50.1)"\n'
# Stands for Go: notes each call, checks that it is called in our module, writes the program that -o names.
GO = """#!/bin/sh
echo "$@" >> "$GO_CALLS"
test -f go.mod || exit 1
while [ "$1" != "-o" ]; do shift; done
printf '#!/bin/sh\\necho "temporal version 0.0.0-DEV (Server 1.31.2, UI 2.50.1)"\\n' > "$2"
chmod +x "$2"
"""


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


def no_download(folder: Path, version: str) -> Path | None:
    return None


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that comes first on a PATH without `temporal` and `go`; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    return tmp_path / "path"


def calls(tmp_path: Path) -> list[str]:
    file = tmp_path / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_one_on_path_comes_first(on_path: Path):
    ours = program(on_path / "temporal", SERVER)
    program(cached(), SERVER)
    assert locate() == ours


def test_one_on_path_that_does_not_run_is_passed_over(on_path: Path):
    program(on_path / "temporal", "#!/bin/sh\nexit 1\n")
    kept = program(cached(), SERVER)
    assert ensure(download=no_download) == kept


def test_a_cached_one_is_used_without_downloading_or_building(on_path: Path, tmp_path: Path):
    kept = program(cached(), SERVER)
    program(on_path / "go", GO)
    downloads: list[str] = []
    assert ensure(download=lambda folder, version: downloads.append(version)) == kept
    assert downloads == []
    assert calls(tmp_path) == []


def test_a_download_of_the_pinned_version_comes_before_building(on_path: Path, tmp_path: Path):
    program(on_path / "go", GO)
    asked: list[str] = []

    def download(folder: Path, version: str) -> Path:
        asked.append(version)
        return program(folder / "temporal-cli", SERVER)

    assert ensure(download=download) == cached()
    assert server_version(cached()) == "1.31.2"
    assert asked == [cli_version()] == ["v1.8.2"]
    assert calls(tmp_path) == []


def test_it_is_built_from_the_pinned_module_and_says_how_long_that_takes(on_path: Path, tmp_path: Path):
    program(on_path / "go", GO)
    said: list[str] = []
    assert ensure(said.append, no_download) == cached()
    assert server_version(cached()) == "1.31.2"
    assert len(calls(tmp_path)) == 1
    assert any("3 to 4 minutes" in line for line in said)


def test_only_the_program_is_left_after_a_build(on_path: Path):
    program(on_path / "go", GO)
    ensure(download=no_download)
    assert sorted(file.name for file in cached().parent.iterdir()) == ["build.log", "lock", "temporal"]


def test_without_any_way_the_three_remedies_are_named(on_path: Path):
    with pytest.raises(NoTemporalServer) as refused:
        ensure(download=no_download)
    for remedy in ("TEMPORAL_ADDRESS", "on PATH", "install Go"):
        assert remedy in str(refused.value)


def test_a_failed_build_shows_its_end_and_leaves_no_program(on_path: Path):
    program(on_path / "go", "#!/bin/sh\necho 'no space left'\nexit 2\n")
    with pytest.raises(NoTemporalServer, match="no space left"):
        ensure(download=no_download)
    assert not cached().exists()


def test_a_build_that_does_not_run_is_not_kept(on_path: Path):
    program(on_path / "go", GO.replace('echo "temporal', 'exit 1; echo "temporal'))
    with pytest.raises(NoTemporalServer):
        ensure(download=no_download)
    assert not cached().exists()


def test_two_processes_build_once(on_path: Path, tmp_path: Path):
    program(on_path / "go", GO)
    # The SDK's download goes nowhere.
    away = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "runtime.temporal_binary"]
    both = [subprocess.Popen(command, env=away, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        assert str(cached()).encode() in process.communicate(timeout=120)[0]
    assert len(calls(tmp_path)) == 1


def test_nothing_is_looked_for_when_an_address_is_set(on_path: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "runtime.temporal_binary"],
        env={**os.environ, "TEMPORAL_ADDRESS": "somewhere:7233"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "somewhere:7233" in done.stdout
    assert not (tmp_path / "cache").exists()
