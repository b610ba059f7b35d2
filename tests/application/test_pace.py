"""The pace of bulk acts, on a clock of its own."""

from __future__ import annotations

import asyncio

from application.rate_limit import Pace


async def test_turns_come_no_faster_than_the_setting_for_all_who_ask_together() -> None:
    now, slept = 100.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(4, lambda: now, sleep)
    await asyncio.gather(*(pace.turn() for _ in range(5)))
    assert slept == [0, 0.25, 0.25, 0.25, 0.25]
    now += 10  # nobody asked for a while: that saves up no turns
    await asyncio.gather(pace.turn(), pace.turn())
    assert slept[5:] == [0, 0.25]
