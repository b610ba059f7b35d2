"""Run single processes: `coursaga worker`, `api`, `relay`, `consume`, `migrate`.

They join the stack of COURSAGA_HOME, if any.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from cli.output import FINE, Json, print_json, print_line, to_people
from db.migrate import upgrade
from runtime.errors import CannotRun, ServerUnreachable
from runtime.settings import SettingsError, load_settings
from runtime.state import attached


def worker() -> None:
    """Run one more worker until SIGTERM or SIGINT."""
    _become("worker")


def api() -> None:
    """Serve the HTTP API on API_HOST and API_PORT until SIGTERM or SIGINT."""
    _become("api.app")


def relay() -> None:
    """Tell others of events until SIGTERM or SIGINT: to Kafka where there is one, and to webhook targets."""
    if attached(load_settings()).kafka_bootstrap_servers:
        _require_kafka()
    _become("relay")


def consume() -> None:
    """Take events of others from Kafka until SIGTERM or SIGINT. Needs KAFKA_BOOTSTRAP_SERVERS."""
    settings = attached(load_settings())
    where = f"topic {settings.kafka_topic_in}, group {settings.kafka_group}, brokers {settings.kafka_servers}"
    _require_kafka()
    to_people().print(where, markup=False, highlight=False, soft_wrap=True)
    _become("consumer")


def migrate(*, json: Json = False) -> int:
    """Bring the database of DATABASE_URL, or of the running stack, to the newest schema, as the owner of its tables.

    Where the processes have roles of their own, each of them may then do what it needs, and no more.
    """
    settings = attached(load_settings())
    if settings.database_url is None:
        raise ServerUnreachable("DATABASE_URL is not set and no stack runs (`coursaga up`)")
    try:
        roles = upgrade(settings.database_url.get_secret_value())
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != "42501":
            raise
        whose = make_url(settings.database_url.get_secret_value()).username
        raise CannotRun(
            f"{whose} may not migrate ({error.orig}): DATABASE_URL must be that of the owner of the tables"
        ) from None
    except OperationalError as error:
        if error.orig is not None and getattr(error.orig, "sqlstate", None):
            raise
        raise ServerUnreachable(f"no PostgreSQL at DATABASE_URL: {error.orig}") from None
    if json:
        print_json({"migrated": True, "roles": roles})
    else:
        print_line("the database is at the newest schema")
        if roles:
            print_line(f"what each process needs is granted to {', '.join(roles)}, nothing else")
    return FINE


def _require_kafka() -> None:
    if not find_spec("confluent_kafka"):
        raise SettingsError("the package confluent-kafka is not there: install coursaga[kafka]")


def _become(module: str) -> None:
    """Replace this process by that program: it keeps the process id, the signals and the log."""
    environment = {**os.environ, **attached(load_settings()).environment()}
    os.execve(sys.executable, [sys.executable, "-m", module], environment)
