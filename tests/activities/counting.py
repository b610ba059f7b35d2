"""Counts what a step says to the database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


@contextmanager
def round_trips(engine: Engine) -> Generator[list[str]]:
    """What is sent within, one entry per round trip: statements, and BEGIN and COMMIT where a transaction is open.

    psycopg sends BEGIN with a transaction's first statement as a round trip of its own, and none on an
    autocommit connection; `rollback` of an idle connection sends nothing.
    """
    sent: list[str] = []

    def on_statement(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not connection.connection.driver_connection.autocommit and sent[-1:] == ["begin"]:
            sent[-1] = "BEGIN"
        sent.append(statement)

    def on_begin(connection: Any) -> None:
        if not connection.connection.driver_connection.autocommit:
            sent.append("begin")

    def on_commit(connection: Any) -> None:
        if not connection.connection.driver_connection.autocommit:
            sent.append("COMMIT")

    hooks = (("before_cursor_execute", on_statement), ("begin", on_begin), ("commit", on_commit))
    for name, hook in hooks:
        event.listen(engine, name, hook)
    try:
        yield sent
    finally:
        for name, hook in hooks:
            event.remove(engine, name, hook)
