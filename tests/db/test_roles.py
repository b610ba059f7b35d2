"""deploy/postgres/roles.sh, run by a real psql on a server of its own: what a production server starts with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from db.engine import make_engine
from db.grants import API, ROLES
from db.migrate import upgrade
from db.reads.schema import newest_revision
from runtime.embedded.postgres import EmbeddedPostgres, wipe_postgres
from runtime.embedded.postgres_programs import account_for, place_of, programs

SCRIPT = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sh"
LOGINS = {"coursaga": "COURSAGA", "temporal": "TEMPORAL", **{role: role.upper() for role in ROLES}}
ROLES_THERE = """
SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolconnlimit FROM pg_roles
WHERE rolname NOT LIKE 'pg\\_%' AND rolname NOT IN ('postgres', 'embedded') ORDER BY 1"""


class Server:
    """A server as the image starts it: a superuser postgres, and nothing else."""

    def __init__(self, postgres: EmbeddedPostgres, psql: Path) -> None:
        self._url = make_url(postgres.url)
        self._psql = psql
        self.run("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'of-a-test'", "coursaga")
        self.run("DROP DATABASE coursaga")
        self.run("ALTER ROLE coursaga RENAME TO embedded")

    def url(self, role: str, database: str = "coursaga", password: str = "of-a-test") -> str:
        if (role, password) == ("coursaga", ""):
            return self._url.set(database=database).render_as_string(hide_password=False)
        url = self._url.set(username=role, password=password, database=database)
        return url.render_as_string(hide_password=False)

    def run(self, statement: str, role: str = "postgres") -> list[tuple[object, ...]]:
        url = self.url(role, "postgres", "" if role == "coursaga" else "of-a-test")
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def script(self, **given: str) -> None:
        """The script, with a password for each login."""
        passwords = {f"{name}_DB_PASSWORD": "of-a-test" for name in LOGINS.values()}
        where = {"PGHOST": str(self._url.host), "PGPORT": str(self._url.port), "PGPASSWORD": "of-a-test"}
        path = {"PATH": f"{self._psql.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", SCRIPT], env={**path, **where, **passwords, **given}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="coursaga-roles-"))
    home.chmod(0o755)
    own = EmbeddedPostgres(home)
    try:
        own.start()
        account = account_for(own.data)
        yield Server(own, programs(None, place_of(home / "postgres", account), account) / "psql")
    finally:
        own.stop()
        wipe_postgres(home)
        shutil.rmtree(home)


def test_a_server_gets_its_roles_and_migrates_as_its_owner_who_is_no_superuser(server: Server) -> None:
    server.script()
    there = {row[0]: row[1:] for row in server.run(ROLES_THERE)}
    assert there.keys() == LOGINS.keys()
    assert {row[:3] for row in there.values()} == {(True, False, False)}
    assert [name for name, row in there.items() if row[3]] == ["temporal"]
    assert all(there[role][4] != -1 for role in ROLES)
    assert upgrade(server.url("coursaga")) == list(ROLES)
    engine = make_engine(server.url(API), pool_size=1)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == newest_revision()
    engine.dispose()


def test_nobody_else_gets_into_the_database(server: Server) -> None:
    with suppress(psycopg.errors.DuplicateObject):
        server.run("CREATE ROLE passer_by LOGIN PASSWORD 'of-a-test'")
    for role in ("passer_by", "temporal"):
        engine = make_engine(server.url(role), pool_size=1)
        with pytest.raises(OperationalError, match="permission denied for database"):
            engine.connect()
        engine.dispose()
    server.run("DROP ROLE passer_by")


def test_run_again_it_changes_passwords_and_nothing_else(server: Server) -> None:
    before = server.run(ROLES_THERE)
    server.script(COURSAGA_API_DB_PASSWORD="another")
    assert server.run(ROLES_THERE) == before
    engine = make_engine(server.url(API, password="another"), pool_size=1)
    engine.connect().close()
    engine.dispose()
    server.script()


def test_the_roles_come_to_a_database_that_was_there_before_them(server: Server) -> None:
    """What the runbook says to do: the script, then migrate, which has no schema to change."""
    server.run("DROP DATABASE coursaga")
    for role in ROLES:
        server.run(f"DROP ROLE {role}")
    server.run("CREATE DATABASE coursaga OWNER coursaga")
    assert upgrade(server.url("coursaga")) == []  # as before there were any: one role for everything
    server.script()
    assert upgrade(server.url("coursaga")) == list(ROLES)
