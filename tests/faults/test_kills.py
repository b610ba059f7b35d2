"""A worker that loses its power at the worst moments of every step and every undo: before its effect, in its commit,
after it, at each statement. Nothing is lost, nothing is done twice.

Each purchase has a task queue and workers of its own; the first dies by SIGKILL, the next one knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.faults.database_faults import held_commit, held_row
from tests.faults.endings import require_completed, require_made_whole
from tests.faults.marks import DOS, IN_ROLLBACK, Mark, brings, mark_of
from tests.faults.purchases import FAST, Purchase
from tests.faults.together import Case, Together
from tests.faults.world import WorkerProcess, World
from tests.invariants import violations, violations_of_runs
from workflows.policies import LOCAL, REGULAR, Rules
from workflows.steps import ISSUE_TEST_CARDS

# A worker that is gone is noticed when its try is over, or its workflow task.
KILLED = replace(FAST, attempt=3)
RULES = {REGULAR: KILLED, LOCAL: replace(KILLED, lane=LOCAL, local_attempts=60)}
TASK = timedelta(seconds=3)
Ends = Callable[[], Awaitable[None]]


async def killed_before_the_effect(world: World, activity: str, lane: str) -> None:
    """The worker has the task and dies before it does anything."""
    purchase, ends = _purchase(world, activity, RULES[lane])
    purchase.plan(activity, "kill_before")
    worker = await _begin(purchase, activity)
    await worker.died()
    assert not purchase.is_done(activity)
    purchase.worker()
    await ends()


async def killed_in_the_commit_which_is_lost(world: World, activity: str, lane: str) -> None:
    """All is written, the commit has begun, then the worker dies and the database forgets."""
    purchase, ends = _purchase(world, activity, RULES[lane])
    async with held_commit(world.engine, mark_of(activity, purchase.order)) as hold:
        worker = await _begin(purchase, activity)
        await hold.entered()
        worker.kill()
        hold.break_off()
    assert not purchase.is_done(activity)
    purchase.worker()
    await ends()


async def killed_in_the_commit_which_stands(world: World, activity: str, lane: str) -> None:
    """The worker dies while the database commits: done, and nobody was told."""
    purchase, ends = _purchase(world, activity, RULES[lane])
    async with held_commit(world.engine, mark_of(activity, purchase.order)) as hold:
        worker = await _begin(purchase, activity)
        await hold.entered()
        worker.kill()
    await hold.left()
    assert purchase.is_done(activity)
    purchase.worker()
    await ends()


async def killed_after_the_commit(world: World, activity: str, lane: str) -> None:
    """The activity has returned; its worker dies before it can report."""
    purchase, ends = _purchase(world, activity, RULES[lane])
    purchase.plan(activity, "kill_after")
    worker = await _begin(purchase, activity)
    await worker.died()
    assert purchase.is_done(activity)
    purchase.worker()
    await ends()


async def killed_at_every_statement(world: World, activity: str, lane: str) -> None:
    """Workers die one after the other, each one statement of the activity further."""
    # With three quick tries an undo would wait aside and the others overtake it; here it is asked once, to the end.
    purchase, ends = _purchase(world, activity, replace(RULES[lane], attempt=2, quick_tries=99))
    deaths = purchase.plan(activity, "kill_at_sql")
    worker = await _begin(purchase, activity)
    while not await purchase.ends_before_death_of(worker):
        worker = purchase.worker()
    assert int(deaths.read_text()) >= 1, "every activity has a statement"
    await ends()


async def killed_in_the_middle_of_the_cards(world: World, nth: str) -> None:
    """Some cards are written, others not, when the worker dies; every other time the database notices at once."""
    purchase, ends = _purchase(world, ISSUE_TEST_CARDS.name)
    number = int(nth) * 37 % 50 + 1  # each of 1..50 comes, neighbours far apart
    async with held_row(world.engine, Mark("mock_test_attempts", purchase.order.purchase_id, (str(number),))) as hold:
        worker = await _begin(purchase, ISSUE_TEST_CARDS.name)
        await hold.entered()
        worker.kill()
        assert not purchase.is_done(ISSUE_TEST_CARDS.name)
        if int(nth) % 2:
            hold.break_off()
    purchase.worker()
    await ends()


STORIES = [
    killed_at_every_statement,  # the longest begins first
    killed_before_the_effect,
    killed_in_the_commit_which_is_lost,
    killed_in_the_commit_which_stands,
    killed_after_the_commit,
]


def _purchase(world: World, activity: str, rules: Rules = KILLED) -> tuple[Purchase, Ends]:
    purchase = Purchase(world, rules, alone=True, brings=brings(activity))

    async def made_whole() -> None:
        await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED")
        world.end_workers(purchase.queue)

    async def completed() -> None:
        await require_completed(purchase)
        world.end_workers(purchase.queue)

    return purchase, made_whole if activity in IN_ROLLBACK else completed


async def _begin(purchase: Purchase, activity: str) -> WorkerProcess:
    """Starts it with a worker of its own. For an undo it is cancelled when all that can be undone is done."""
    worker = purchase.worker()
    if activity not in IN_ROLLBACK:
        await purchase.start(task_timeout=TASK)
        return worker
    await purchase.start_and_cancel_with_everything(task_timeout=TASK)
    return worker


CASES = [
    *[Case(story, (activity, REGULAR)) for story in STORIES for activity in (*IN_ROLLBACK, *DOS)],
    *[Case(story, (step, LOCAL)) for story in STORIES for step in DOS],
]
AMONG_CARDS = [Case(killed_in_the_middle_of_the_cards, (str(nth),)) for nth in range(100)]
LONG_RUN = [pytest.param(case, marks=pytest.mark.soak) for case in AMONG_CARDS[5:]]


@pytest.mark.parametrize("case", [*CASES, *AMONG_CARDS[:5], *LONG_RUN], ids=str)
async def test_a_worker_killed_anywhere_changes_nothing(case: Case, together: Together) -> None:
    await together.ended(case)


async def test_nothing_the_kills_left_behind_breaks_an_invariant(together: Together, world: World) -> None:
    await together.all_ended()
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
