"""A peer's process: it buys what its parent asks for, one line of JSON a turn on stdin, and answers each with a line.

    python -m cli.bench.runner plain|dbos

Threads and connections to the database are as many as the worker's (ACTIVITY_SLOTS). It ends with its stdin.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from sqlalchemy import Engine

from cli.bench.dbos_peer import Dbos
from cli.bench.story import names, story
from db.engine import make_engine
from domain.purchase import PurchaseOrder
from gateways.payments import HttpPaymentProvider, PaymentProvider, ProviderTrouble
from runtime.clock import clock
from runtime.errors import CannotRun, ServerUnreachable
from runtime.leaving import leave
from runtime.logs import set_up_logs
from runtime.settings import Settings, load_settings
from workflows.policies import Rules


class Peer(Protocol):
    """What carries purchases in this process."""

    def buy(self, order: PurchaseOrder) -> object:
        """Do all the steps of one purchase; what cannot be done is raised."""
        ...

    def steps_of(self, order: PurchaseOrder) -> list[str]:
        """Return the names of the steps that this purchase had, in order."""
        ...


class Plain:
    """The activities called one after the other: nothing is remembered, nothing tried again, nothing undone."""

    def __init__(self, settings: Settings, engine: Engine, provider: PaymentProvider) -> None:
        self._story = story(engine, provider, clock(settings))

    def buy(self, order: PurchaseOrder) -> None:
        """See Peer.buy."""
        for step in self._story:
            try:
                step.do(order)
            except ProviderTrouble:  # it closes connections that are idle for as long as the others' turns
                step.do(order)

    def steps_of(self, order: PurchaseOrder) -> list[str]:
        """See Peer.steps_of."""
        return names(self._story)


def serve(make: Callable[[Settings, Engine, PaymentProvider], Peer]) -> None:
    """Make the peer, say that it is ready, then do a turn for each line until stdin ends."""
    settings = load_settings()
    set_up_logs(settings.log_level, "json")  # as a worker does, so that logs cost the same
    if not settings.database_url or not settings.provider_url:
        raise ServerUnreachable("a peer needs DATABASE_URL and PROVIDER_URL")
    slots = settings.activity_slots
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=slots, planned_once=True)
    with (
        HttpPaymentProvider(settings.provider_url, timeout=Rules().attempt - 2) as provider,
        ThreadPoolExecutor(slots) as threads,
    ):
        peer = make(settings, engine, provider)
        _say({"ready": True})
        for line in sys.stdin:
            asked = json.loads(line)
            orders = [PurchaseOrder(**each) for each in asked["orders"]]
            try:
                began = _turn(threads, peer, orders, asked["atOnce"])
                _say({"began": began, "steps": peer.steps_of(orders[-1])})
            except Exception as error:
                _say({"failed": f"{type(error).__name__}: {error}"})


def _turn(threads: ThreadPoolExecutor, peer: Peer, orders: Sequence[PurchaseOrder], at_once: int) -> dict[str, float]:
    """Buy all, at most `at_once` at a time; return when each began, in seconds since the epoch."""
    left, began = iter(orders), dict[str, float]()

    def buyer() -> None:
        for order in left:
            began[order.purchase_id] = time.time()
            peer.buy(order)

    for each in [threads.submit(buyer) for _ in range(at_once)]:
        each.result()
    return began


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve as the peer that is named; return the exit code."""
    try:
        serve(Dbos if sys.argv[1:] == ["dbos"] else Plain)
    except CannotRun as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    leave(main())
