"""Many stories at random, side by side: whatever order things happen in, every line ends and every invariant holds.

A story is drawn from its seed; RANDOM_SEEDS=17,42 tells those alone. Seeds that failed once are told in every run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from db.grants import API
from runtime.settings import Settings
from tests.faults.products import crash, gone, the_door
from tests.faults.purchases import LIGHT_QUEUE
from tests.faults.random_story import LIMIT, Story
from tests.faults.site import Site
from tests.faults.world import TODAY, World
from tests.invariants import violations, violations_of_runs
from tests.roles import as_role
from workflows.policies import Rules

AT_ONCE = 12
BOUND = 240.0  # seconds for one story, generous
KILLS = 6  # of one test: counted, since a busy machine that is killed on and on would never get anywhere
FAILED_ONCE = (74, 178, 1490)
RULES = Rules(
    attempt=5, quick_pause=0.05, trouble_pause=0.2, trouble_pause_most=0.5, heal_pause=600, pending_pause=0.1,
    escalate_after=5, two_person_limit=LIMIT,
)  # fmt: skip
SLICES = [range(at, at + 60) for at in range(0, 1_800, 60)]
WITH_KILLS = [range(at, at + 20) for at in range(2_000, 2_200, 20)]


def sliced(slices: Sequence[range]) -> list[object]:
    """The first in every run, the others in the long one."""
    asked = os.environ.get("RANDOM_SEEDS")
    if asked:
        return [[int(seed) for seed in asked.split(",")]]
    first = [*FAILED_ONCE, *slices[0]]
    rest = [pytest.param(each, id=f"{each.start}-", marks=pytest.mark.soak) for each in slices[1:]]
    return [pytest.param(first, id="first"), *rest]


async def tell(story: Story) -> str | None:
    """What went wrong with it, and what it had done."""
    try:
        async with asyncio.timeout(BOUND):
            await story.live()
    except Exception as err:
        return f"seed {story.seed}, {story.name}: {err!r}"
    return None


async def tell_all(stories: Sequence[Story]) -> list[str]:
    """Tells the stories, so many at once; what went wrong."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(story: Story) -> str | None:
        async with turns:
            return await tell(story)

    return [said for said in await asyncio.gather(*map(in_turn, stories)) if said]


async def require_all_adds_up(stories: Sequence[Story], world: World, wrong: list[str]) -> None:
    """No story went wrong, and what they left behind is of one mind; else tells what those at fault had done."""
    wrong += violations(world.engine, world.provider.url) + await violations_of_runs(world.engine, world.temporal)
    for story in stories:
        if any(story.name in said for said in wrong):
            wrong.append(f"seed {story.seed}, {story.name}, did:\n  " + "\n  ".join(story.told))
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(3 * BOUND)  # a story that hangs is told with what it did
@pytest.mark.parametrize("seeds", sliced(SLICES))
async def test_whatever_happens_in_any_order_every_line_ends_and_adds_up(seeds: Sequence[int], world: World) -> None:
    settings = Settings.model_validate(
        {
            "database_url": as_role(API, world.database_url),
            "provider_url": world.provider.url,
            "temporal_address": world.temporal.service_client.config.target_host,
            "task_queue": LIGHT_QUEUE,
            "coursaga_today": TODAY,
            "api_work_at_once": 2 * AT_ONCE,  # what is refused at the door makes no story
        }
    )
    async with the_door(settings, RULES) as door:
        stories = [Story(seed, world, door) for seed in seeds]
        for story in stories:
            await story.prepare()
        await require_all_adds_up(stories, world, await tell_all(stories))


@pytest.mark.timeout(3 * BOUND)
@pytest.mark.parametrize("seeds", sliced(WITH_KILLS))
async def test_the_same_while_workers_and_the_database_are_killed(seeds: Sequence[int], site: Site) -> None:
    chance, workers = random.Random(seeds[0]), [site.worker() for _ in range(2)]
    with ExitStack() as running:
        for worker in workers:
            running.callback(worker.kill)
            worker.start()
        async with the_door(site.settings.with_values(api_work_at_once=2 * AT_ONCE), RULES) as door:
            stories = [Story(seed, site.world, door) for seed in seeds]
            for story in stories:
                await story.prepare()
            telling = asyncio.create_task(tell_all(stories))
            for _ in range(KILLS):
                await asyncio.wait([telling], timeout=chance.uniform(1, 5))
                if telling.done():
                    break
                if chance.random() < 0.3:
                    crash(site.postgres, signal.SIGQUIT)
                    await gone(site.postgres)
                    await asyncio.to_thread(site.postgres.start)
                else:
                    worker = chance.choice(workers)
                    await asyncio.to_thread(worker.kill)
                    worker.start()
            wrong = await telling
        site.world.engine.dispose()  # its connections were to crashed ones
        await require_all_adds_up(stories, site.world, wrong)
