"""deploy/backup: three databases at one moment, verified, back on a server of their own; and everything it refuses."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from runtime.embedded.postgres import DATABASE, EmbeddedPostgres
from tests.cluster import client_programs
from tests.stack import ROOT

SCRIPTS = ROOT / "deploy" / "backup"
DATABASES = (DATABASE, "temporal", "temporal_visibility")
FLIPPED = 64  # bytes into a file


@dataclass
class Server:
    """A server with the three databases of production, and the scripts as its operator runs them."""

    own: EmbeddedPostgres
    backups: Path

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        url = make_url(self.own.url).set(drivername="postgresql", database=database)
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def script(self, name: str, *words: object, exits: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        url = make_url(self.own.url)
        account = pwd.getpwuid(self.own.data.stat().st_uid).pw_name
        done = subprocess.run(
            ["/bin/sh", str(SCRIPTS / f"{name}.sh"), *map(str, words)],
            env={
                "PATH": f"{client_programs()}:{os.environ['PATH']}",
                "PGHOST": str(url.host), "PGPORT": str(url.port), "PGUSER": str(url.username),
                "PGPASSWORD": str(url.password), "OWNER": account, **env,
            },
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == exits, f"{name} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert str(url.password) not in done.stdout + done.stderr
        return done

    def backup(self) -> Path:
        return Path(self.script("backup", self.backups).stdout.strip())


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    own = EmbeddedPostgres(home)
    own.start()
    backups = home / "backups"
    backups.mkdir()
    made = Server(own, backups)
    for database in DATABASES:
        if database != DATABASE:
            with made.connect() as connection:
                connection.execute(f"CREATE DATABASE {database}".encode())
        with made.connect(database) as connection:
            connection.execute("CREATE TABLE counted (number int PRIMARY KEY)")
    yield made
    own.stop()


def counted(server: Server) -> list[int]:
    """The newest number in each database."""
    numbers: list[int] = []
    for database in DATABASES:
        with server.connect(database) as connection:
            row = connection.execute("SELECT coalesce(max(number), 0) FROM counted").fetchone()
            numbers.append(row[0] if row else -1)
    return numbers


def test_a_backup_is_one_moment_of_three_databases_that_are_written_to(server: Server):
    begun, enough = threading.Event(), threading.Event()

    def count() -> None:
        """Each number into one database after the other, so that at any moment they are at most one apart."""
        connections = [server.connect(database) for database in DATABASES]
        number = 0
        while not enough.is_set():
            number += 1
            for connection in connections:
                connection.execute("INSERT INTO counted VALUES (%s)", [number])
            begun.set()
        for connection in connections:
            connection.close()

    counting = threading.Thread(target=count)
    counting.start()
    assert begun.wait(60)
    made = server.backup()
    enough.set()
    counting.join()
    later = counted(server)

    assert made.stat().st_mode & 0o77 == 0
    assert [file.name for file in server.backups.iterdir()] == [made.name]  # nothing half-made
    server.own.stop()
    server.script("restore", "--replace", made, server.own.data)
    server.own.start()
    first, second, third = counted(server)
    assert 1 <= third <= second <= first <= third + 1
    assert first < later[0]
    assert [folder.name.partition(".")[2][:7] for folder in server.own.data.parent.glob("data.*")] == ["before-"]


def test_a_damaged_backup_is_not_restored(server: Server):
    made = server.backup()
    server.own.stop()
    tables = (file for file in sorted((made / "data" / "base").rglob("[0-9]*")) if file.is_file())
    page = next(file for file in tables if file.stat().st_size > FLIPPED)
    content = bytearray(page.read_bytes())
    content[FLIPPED] ^= 1
    page.write_bytes(content)
    said = server.script("restore", "--replace", made, server.own.data, exits=1).stderr
    assert "the backup is damaged, nothing was changed" in said
    assert [folder.name for folder in server.own.data.parent.glob("data*")] == ["data"]
    server.own.start()
    assert counted(server) == [0, 0, 0]


def test_a_backup_that_lost_a_file_is_not_restored(server: Server, tmp_path: Path):
    made = server.backup()
    next((made / "data" / "pg_wal").glob("0*")).unlink()
    assert "damaged" in server.script("restore", made, tmp_path / "data", exits=1).stderr
    assert list(tmp_path.iterdir()) == []
    (made / "about").unlink()  # as one that was moved by hand before it was finished
    assert "no backup that backup.sh finished" in server.script("restore", made, tmp_path / "data", exits=1).stderr


def test_data_that_is_there_or_in_use_is_not_overwritten(server: Server, tmp_path: Path):
    made = server.backup()
    assert "stop it first" in server.script("restore", "--replace", made, server.own.data, exits=1).stderr
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "somebody's").write_text("work")
    assert "is not empty" in server.script("restore", made, tmp_path / "data", exits=1).stderr
    assert (tmp_path / "data" / "somebody's").read_text() == "work"


def test_a_backup_without_temporals_databases_is_refused(server: Server):
    with server.connect() as connection:
        connection.execute("DROP DATABASE temporal_visibility")
    said = server.script("backup", server.backups, exits=1).stderr
    assert "no database temporal_visibility" in said
    assert list(server.backups.iterdir()) == []
    server.script("backup", server.backups, DATABASES="coursaga temporal")  # somebody who knows says so


def test_what_fails_half_way_leaves_nothing_behind(server: Server):
    with server.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'read'")
    said = server.script("backup", server.backups, exits=1, PGUSER="reader", PGPASSWORD="read").stderr
    assert "pg_basebackup failed" in said
    assert list(server.backups.iterdir()) == []


def test_a_server_that_is_away_and_wrong_usage_are_told_apart(server: Server, tmp_path: Path):
    server.script("backup", exits=2)
    server.script("restore", "one", exits=2)
    assert "is no folder" in server.script("backup", tmp_path / "absent", exits=1).stderr
    assert (
        "no program" in server.script("backup", server.backups, exits=1, PATH=str(Path(sys.executable).parent)).stderr
    )
    server.own.stop()
    assert "no PostgreSQL answers" in server.script("backup", server.backups, exits=3).stderr


def test_no_password_is_an_argument():
    """Arguments are for everybody on the machine to read."""
    for script in SCRIPTS.glob("*.sh"):
        code = "\n".join(line for line in script.read_text().splitlines() if not line.lstrip().startswith("#"))
        assert "PASSWORD" not in code
        assert "postgresql://" not in code
