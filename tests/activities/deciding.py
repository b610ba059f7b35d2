"""An operator decides: one line in a test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import Engine

from activities.acts import ActActivities
from domain.acts import Decision
from domain.purchase import PurchaseOrder
from tests.build import NOW

_keys = count(1)


def decision(order: PurchaseOrder, verb: str, key: str = "", **values: Any) -> Decision:
    """Ann decides; under a key of its own unless said."""
    return Decision(order, key or f"key-{next(_keys)}", verb, "ann", "the student called", values)


def decide(
    engine: Engine, order: PurchaseOrder, verb: str, key: str = "", *,
    clock: Callable[[], datetime] = lambda: NOW, **values: Any,
) -> Decision:  # fmt: skip
    """Ann's decision is stored."""
    decided = decision(order, verb, key, **values)
    ActActivities(engine, clock).decide(decided)
    return decided
