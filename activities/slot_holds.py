"""Release a slot hold when its timer fires."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from db.effects.slot_holds import release

_log = structlog.get_logger()


class HoldActivities:
    """release_hold."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="release_hold", no_thread_cancel_exception=True)
    def release_hold(self, hold_id: str) -> bool:
        """Free the held times; return False when the hold was released before or a purchase took it over."""
        released = release(self._engine, hold_id, self._clock())
        _log.info("slot_hold_expired", hold_id=hold_id, released=released)
        return released
