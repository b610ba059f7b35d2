"""A try whose worker was given up for dead, and which then does its work after all, late: it changes nothing.

Temporal stops waiting for a try when its time is over and asks another worker; the first one does not know.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.endings import require_completed, require_made_whole
from tests.faults.marks import DOS, UNDO_OF, UNDOS, brings
from tests.faults.purchases import FAST, Purchase, entered, release
from tests.faults.together import Case, Together
from tests.faults.world import World
from tests.invariants import violations, violations_of_runs

IMPATIENT = replace(FAST, attempt=3)


async def a_try_that_comes_after_another_did_it(world: World, step: str) -> None:
    """The next try did the step and the purchase completed; then the first one does it."""
    purchase = Purchase(world, IMPATIENT, brings=brings(step))
    late = purchase.plan(step, "hold_before")
    over = purchase.plan(step, "tell")
    await purchase.start()
    await require_completed(purchase)
    release(late)
    await entered(over)
    await require_completed(purchase)


async def a_try_that_comes_after_its_undo(world: World, step: str) -> None:
    """The step parked and everything was undone; then its first try does it, and is refused."""
    purchase = Purchase(
        world, replace(IMPATIENT, quick_tries=1, trouble_pause=600, trouble_pause_most=600), brings=brings(step)
    )
    late = purchase.plan(step, "hold_before")
    over = purchase.plan(step, "tell")
    await purchase.start()
    assert (await purchase.parked()).code == "STEP_TROUBLE"
    await purchase.cancel()
    await require_made_whole(purchase, asked=purchase.until(step), last_done=False, ended_as="CANCELLED")
    release(late)
    await entered(over)
    await require_made_whole(purchase, asked=purchase.until(step), last_done=False, ended_as="CANCELLED")


async def an_undo_that_comes_after_another_did_it(world: World, undo: str) -> None:
    """The next try took it back and the rollback ended; then the first one takes it back."""
    purchase = Purchase(world, IMPATIENT, brings=brings(undo))
    late = purchase.plan(undo, "hold_before")
    over = purchase.plan(undo, "tell")
    await purchase.start_and_cancel_with_everything()
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED")
    release(late)
    await entered(over)
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED")


CASES = [
    *[Case(a_try_that_comes_after_another_did_it, (step,)) for step in DOS],
    *[Case(a_try_that_comes_after_its_undo, (step,)) for step in UNDO_OF],
    *[Case(an_undo_that_comes_after_another_did_it, (undo,)) for undo in UNDOS],
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_late_try_changes_nothing(case: Case, together: Together) -> None:
    await together.ended(case)


async def test_nothing_the_late_tries_left_behind_breaks_an_invariant(together: Together, world: World) -> None:
    await together.all_ended()
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
