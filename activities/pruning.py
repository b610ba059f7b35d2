"""Delete what is kept for a limited time only, in batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.pruning import prune

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PruningActivities:
    """prune, for the sweep that runs once a day."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime], keep_for: timedelta) -> None:
        self._engine = engine
        self._clock = clock
        self._keep_for = keep_for

    @activity.defn(name="prune", no_thread_cancel_exception=True)
    def prune(self) -> dict[str, int]:
        """Delete one batch of each kind, at most `db.pruning.AT_ONCE` rows; return the counts. Call until all are 0."""
        gone = prune(self._engine, self._clock() - self._keep_for)
        _log.info("pruned", **gone)
        return gone
