"""Purchases that run through in one workflow task, and what meets them there by chance: a cancel, or a worker's death.

A purchase is completed or made whole, whichever of the two came first, and never both (mission rows 52, 70; I3).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.service import RPCError, RPCStatusCode

from tests.faults.endings import completed, made_whole
from tests.faults.marks import DOS
from tests.faults.purchases import FAST, Purchase
from tests.faults.world import World
from tests.invariants import violations, violations_of_runs
from tests.temporal.messages import cancel
from workflows.policies import LOCAL

RULES = replace(FAST, lane=LOCAL, local_attempts=5, attempt=20)
TASK = timedelta(seconds=2)  # a worker that is gone is noticed so soon
AT_ONCE = 30


def as_it_ended(purchase: Purchase, ending: str) -> None:
    """All of it is there, or all of it was taken back: whatever was done before."""
    facts = purchase.facts()
    done = [step for step in DOS if facts["purchases"] or step == DOS[0]]
    if ending == "completed":
        assert facts == completed(purchase)
        return
    assert ending in ("CANCELLED", "Canceled")
    assert (facts["ending"], facts["steps"]) == (["cancelled", "CANCELLED", True], dict.fromkeys(DOS, "undone"))
    whole = made_whole(purchase, done, "cancelled", "CANCELLED")
    for kept in ("given_back", "refunds", "coins", "cart"):
        assert facts[kept] == whole[kept], kept
    for given in ("owned", "enrolled"):
        assert True not in facts[given], given
    for held in ("slots", "sessions"):
        assert set(facts[held]) <= {"cancelled"}, held
    assert "PURCHASE_COMPLETED" not in facts["outbox"]


async def raced(world: World, how: str, after: float) -> str:
    """A cancel comes so many seconds after the start; returns the ending."""
    purchase = Purchase(world, RULES)
    await purchase.start()
    await asyncio.sleep(after)
    answer = ""
    try:
        asked = await cancel(purchase.handle, how)
        answer = await asked.result() if asked else ""
    except RPCError as gone:  # it had closed, or closed before it saw the cancel
        if gone.status is not RPCStatusCode.NOT_FOUND:
            raise
        answer = "completed"
    ending = await purchase.ending()
    as_it_ended(purchase, ending)
    if how == "operator":
        assert answer == ("completed" if ending == "completed" else "rolled back") or answer.startswith("refused: ")
        assert not answer.startswith("refused: ") or ending == "completed"
    return ending


@pytest.mark.parametrize("times", [30, pytest.param(500, marks=pytest.mark.soak)])
async def test_a_cancel_that_races_the_pivot_wins_or_loses_and_never_both(times: int, world: World) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    chance, gate = random.Random(seed), asyncio.Semaphore(AT_ONCE)

    async def one(how: str, after: float) -> str:
        async with gate:
            return await raced(world, how, after)

    races = [one(chance.choice(["operator", "client"]), chance.uniform(0, 0.3)) for _ in range(times)]
    ended = Counter(await asyncio.gather(*races))
    print(dict(ended))  # noqa: T201 - shown with a failure, and by -s
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []


@pytest.mark.parametrize("deaths", [6, pytest.param(500, marks=pytest.mark.soak)])
async def test_a_worker_that_dies_between_local_steps_costs_nothing(deaths: int, world: World) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    chance = random.Random(seed)
    first = Purchase(world, RULES, alone=True)
    purchases, worker = [first], world.worker(first.queue)
    await first.start(task_timeout=TASK)
    for _ in range(deaths):
        await asyncio.sleep(chance.uniform(0, 0.5))
        worker.kill()
        worker = world.worker(first.queue)
        purchase = Purchase(world, RULES)
        purchase.queue = first.queue
        purchases.append(purchase)
        await purchase.start(task_timeout=TASK)
    for purchase in purchases:
        assert await purchase.ending() == "completed"
        assert purchase.facts() == completed(purchase)
    world.end_workers(first.queue)
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
