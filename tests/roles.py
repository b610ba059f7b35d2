"""Who connects: a process as its own role, what a test arranges and looks at as the owner."""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql
from sqlalchemy import Engine, make_url

from db.engine import make_engine
from db.grants import ROLES

PASSWORD = "of-a-test"
_urls: dict[str, str] = {}  # of owners, by the address of the database
_owners: dict[str, Engine] = {}


def make_roles(server_url: str) -> None:
    """The roles of the processes, as deploy/postgres/roles.sh makes them, of a server that may have them."""
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        if connection.info.server_version >= 160000:
            connection.execute("SET scram_iterations = 1")  # tests connect often, and nobody guesses this password
        for role in ROLES:
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                made = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}")
                connection.execute(made.format(sql.Identifier(role), sql.Literal(PASSWORD)))


def as_role(role: str, owner_url: str) -> str:
    """The same database, for one of the processes."""
    url = make_url(owner_url).set(username=role, password=PASSWORD)
    return url.render_as_string(hide_password=False)


def remember_owner(owner_url: str) -> None:
    """From now on `owner_of` knows whose this database is."""
    _urls[_address(owner_url)] = owner_url


def forget_owner(owner_url: str) -> None:
    """The database is to be dropped."""
    address = _address(owner_url)
    del _urls[address]
    if address in _owners:
        _owners.pop(address).dispose()


def owner_of(engine: Engine) -> Engine:
    """The engine of the same database's owner; one that is no process's is itself."""
    if engine.url.username not in ROLES:
        return engine
    address = _address(engine.url.render_as_string())
    if address not in _owners:
        _owners.setdefault(address, make_engine(_urls[address], pool_size=30))  # threads of a test may ask at once
    return _owners[address]


def _address(url: str) -> str:
    parts = make_url(url)
    return f"{parts.host}:{parts.port}/{parts.database}"
