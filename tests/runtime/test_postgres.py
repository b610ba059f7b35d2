"""The embedded PostgreSQL: it survives kill -9, as its own account, and refuses data it cannot run on."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runtime.child_processes import StartFailed, gone, identity
from runtime.embedded.postgres import EmbeddedPostgres, wipe_postgres
from runtime.embedded.postgres_programs import copied, programs, sweep_annexes, version_of

# The embedded programs, and every PostgreSQL a distribution put here (15 on Debian 12).
PROGRAMS: list[Path | None] = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
# A parent that starts a server, commits a row, tells, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
import psycopg
from runtime.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
with psycopg.connect(server.start().replace("+psycopg", ""), autocommit=True) as connection:
    connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
print(server.pid, flush=True)
time.sleep(600)
"""


def ask(url: str, question: str) -> object:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(home)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("programs", PROGRAMS, ids=lambda path: path.parent.name if path else "embedded")
def test_starts_with_what_our_schema_needs_and_keeps_its_data(home: Path, programs: Path | None):
    for expected in (None, "here"):
        server = EmbeddedPostgres(home, binaries=programs)
        try:
            url = server.start()
            ask(url, "CREATE EXTENSION IF NOT EXISTS btree_gist")
            ask(url, "CREATE TABLE IF NOT EXISTS kept (word text)")
            assert ask(url, "SELECT word FROM kept") == expected
            ask(url, "INSERT INTO kept VALUES ('here')")
            assert ask(url, "SHOW server_encoding") == "UTF8"
            assert ask(url, "SELECT 'Z' < 'a'") is True, "sorts by code point on every machine"
        finally:
            server.stop()


def test_needs_the_password(server: EmbeddedPostgres):
    wrong = server.url.replace("+psycopg", "").split("@")[1]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://coursaga:guess@{wrong}")
    assert ask(server.url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'coursaga'").startswith("SCRAM-SHA-256")  # pyright: ignore


def test_keeps_the_password_from_other_users(server: EmbeddedPostgres, home: Path):
    assert stat.S_IMODE((home / "postgres" / "password").stat().st_mode) == 0o600
    assert not (home / "postgres" / "initial-password").exists()
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


def test_listens_on_the_loopback_only_and_has_no_socket(server: EmbeddedPostgres):
    assert ask(server.url, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server.url, "SHOW unix_socket_directories") == ""


def test_never_runs_as_root(server: EmbeddedPostgres):
    assert server.pid is not None
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{server.pid}/status").read_text().splitlines())
    assert "0" not in status["Uid"].split()
    assert status["Uid"].split()[0] == str(server.data.stat().st_uid)


def test_comes_back_with_every_commit_after_its_own_kill(home: Path):
    server = EmbeddedPostgres(home)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    try:
        assert ask(server.start(), "SELECT answer FROM kept") == 42
    finally:
        server.stop()


def test_comes_back_after_its_parent_was_killed(home: Path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(home)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    known_as = identity(pid)
    assert known_as
    parent.kill()
    parent.wait()
    parent.stdout.close()
    server = EmbeddedPostgres(home)
    try:
        assert ask(server.start(), "SELECT answer FROM kept") == 42
        assert gone(pid, known_as, 0)
    finally:
        server.stop()


def test_a_process_that_got_the_id_of_a_dead_server_is_left_alone(home: Path):
    server = EmbeddedPostgres(home)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    file = server.data / "postmaster.pid"
    owner = server.data.stat()
    # Somebody else's process, of the same account: the only kind that PostgreSQL itself is deceived by.
    other = subprocess.Popen(["sleep", "600"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        file.write_text("\n".join([str(other.pid), *file.read_text().splitlines()[1:]]) + "\n")
        assert ask(server.start(), "SELECT answer FROM kept") == 42
        assert other.poll() is None
    finally:
        server.stop()
        other.kill()
        other.wait()


def test_a_home_that_is_closed_to_others_stays_closed_and_works(home: Path):
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "inner")
    try:
        assert ask(server.start(), "SELECT 1") == 1
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        server.stop()
        real = server.data
        wipe_postgres(closed / "inner")
        assert not real.exists()


def test_what_a_deleted_temporary_home_left_elsewhere_is_swept_up(home: Path):
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "inner")
    server.start()
    server.stop()
    real = server.data
    shutil.rmtree(closed)
    sweep_annexes()
    assert not real.exists()


def test_a_killed_first_start_leaves_nothing_that_counts_as_data(home: Path):
    half = home / "postgres" / "data.half"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(home)
    try:
        assert ask(server.start(), "SELECT 1") == 1
    finally:
        server.stop()


def test_data_of_another_version_is_refused_with_both_remedies(home: Path):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (server.data / "PG_VERSION").write_text("13\n")
    with pytest.raises(StartFailed, match=r"PostgreSQL 13.*POSTGRES_BIN.*coursaga down --wipe"):
        EmbeddedPostgres(home).start()


def test_a_lost_password_is_told(home: Path):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (home / "postgres" / "password").write_text("another")
    with pytest.raises(StartFailed, match="password does not fit"):
        EmbeddedPostgres(home).start()


def test_a_folder_without_programs_is_refused_by_the_setting_s_name(home: Path, tmp_path: Path):
    with pytest.raises(StartFailed, match="POSTGRES_BIN"):
        EmbeddedPostgres(home, binaries=tmp_path).start()


def test_wiping_leaves_other_files_of_the_home(home: Path):
    server = EmbeddedPostgres(home)
    server.start()
    server.stop()
    (home / "notes.txt").write_text("mine")
    wipe_postgres(home)
    assert not (home / "postgres").exists()
    assert (home / "notes.txt").exists()
    shutil.rmtree(home)


def test_programs_out_of_reach_are_copied_whole_and_once(home: Path):
    package = programs(None, home, None).parent.parent
    copy = copied(package, home)
    assert copied(package, home) == copy
    for program in ("initdb", "psql"):  # these need the library beside the package
        subprocess.run([copy / "pginstall" / "bin" / program, "--version"], check=True, capture_output=True)
    assert version_of(copy / "pginstall" / "bin") == version_of(package / "pginstall" / "bin")
