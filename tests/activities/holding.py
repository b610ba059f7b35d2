"""Slot holds from a test's threads: the API's own way of holding, on an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from threading import Thread
from typing import Any, cast

from temporalio.client import Client

from api.checkout.choose_and_hold import HoldRequest, hold_for
from api.checkout.preflight import PlannedItem
from application.context import Services
from db.engine import make_async_engine
from db.grants import API
from db.slot_holds import LiveHold
from domain.matching import Place
from domain.schedule import plan_lessons
from domain.wanted_lessons import WantedLessons
from tests.build import NOW
from tests.roles import as_role
from workflows.policies import Rules

ZONE = "Europe/London"


@dataclass
class Holder:
    """Holds as a student would who has `course_id` in the cart; the clock may be moved on."""

    at: Services
    loop: asyncio.AbstractEventLoop
    now: list[datetime] = field(default_factory=lambda: [NOW])

    def hold(
        self, student_id: str, course_id: str = "course-piano", *, at: time = time(18), count: int = 10
    ) -> LiveHold:
        """Ten daily lessons from 2026-12-01, as `tests.build.purchase` plans them."""
        first = date(2026, 12, 1)
        wanted = WantedLessons(first, at, 60, "daily", sunday_only=False, learning_mode="online", group_size=1)
        lessons = plan_lessons(wanted, count, ZONE, first)
        wish = HoldRequest(student_id, course_id, PlannedItem(wanted, count), lessons, ZONE, Place(51.5, -0.12))
        return self._run(hold_for(self.at, wish))

    def later(self, by: timedelta) -> None:
        """The clock moves on."""
        self.now[0] += by

    def _run(self, call: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result(60)


@contextmanager
def holder(database_url: str, pool_size: int = 14) -> Generator[Holder]:
    """Its connections are closed afterwards."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    engine, now = make_async_engine(as_role(API, database_url), pool_size=pool_size), [NOW]
    nobody = cast(Client, None)  # the timer is the door's to start, not the hold's
    try:
        yield Holder(Services(engine, engine, nobody, "none", Rules(), clock=_reading(now)), loop, now)
    finally:
        asyncio.run_coroutine_threadsafe(engine.dispose(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _reading(now: list[datetime]) -> Callable[[], datetime]:
    return lambda: now[0]
