"""Delete what is kept for a limited time only, in batches; and see that the loads of trainers are what they hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.loads import count_begun, mend
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
        """Delete one batch of each kind, at most `db.pruning.AT_ONCE` rows; return the counts. Call until all are 0.

        `loads`: trainers counted anew, at most `db.loads.AT_ONCE`, for a lesson has begun or the load was wrong.
        """
        gone = prune(self._engine, self._clock() - self._keep_for)
        gone["loads"] = count_begun(self._engine, self._clock()) or self._mended()
        _log.info("pruned", **gone)
        return gone

    def _mended(self) -> int:
        wrong = mend(self._engine, self._clock())
        if wrong:
            _log.error("loads_were_wrong", trainers=wrong)
        return len(wrong)
