"""The bench's second side, "plain calls": the same activities, in the same order, without anything that remembers
them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from cli.bench.meter import Timed
from cli.bench.story import Told
from domain.purchase import PurchaseOrder


def buy(steps: Sequence[Told], orders: Sequence[PurchaseOrder], threads: int, advance: Callable[[], object]) -> Timed:
    """Do all the steps for each order and return the times.

    A refusal or an error is raised, as nothing would retry it.
    """

    def one(order: PurchaseOrder) -> float:
        began = time.perf_counter()
        for step in steps:
            step.do(order)
        took = time.perf_counter() - began
        advance()
        return took

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        each = list(pool.map(one, orders))
        return Timed(each, time.perf_counter() - began)


@contextmanager
def round_trips(engine: Engine) -> Generator[Counter[str]]:
    """Count what the block sends to the database: statements, and the BEGIN and COMMIT of transactions.

    psycopg sends BEGIN with a transaction's first statement, as a round trip of its own; on a connection on which
    every statement is a transaction it sends neither.
    """
    sent = Counter[str]()

    def on_statement(*_: Any) -> None:
        sent["statements"] += 1

    def on_begin(connection: Any) -> None:
        sent["begin"] += not _at_once(connection)

    def on_commit(connection: Any) -> None:
        sent["commit"] += not _at_once(connection)

    hooks = (("before_cursor_execute", on_statement), ("begin", on_begin), ("commit", on_commit))
    for name, hook in hooks:
        event.listen(engine, name, hook)
    try:
        yield sent
    finally:
        for name, hook in hooks:
            event.remove(engine, name, hook)


def _at_once(connection: Any) -> bool:
    return bool(connection.connection.driver_connection.autocommit)
