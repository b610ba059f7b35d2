"""Every step, really done, under a refusal, trouble that passes, trouble that lasts, and a cancel at its worst moment.

Real PostgreSQL, Temporal, provider and worker processes; trouble is raised by the database inside the step's own
transaction, so that a half-done step would show.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.faults.database_faults import held_commit
from tests.faults.endings import require_completed, require_made_whole
from tests.faults.marks import ANNOUNCE, DOS, UNDOS, brings, mark_of
from tests.faults.purchases import FAST, LOCALLY, UNHURRIED, Purchase, entered, release
from tests.faults.together import Case, Together
from tests.faults.world import World
from tests.invariants import violations, violations_of_runs
from workflows.policies import LOCAL, REGULAR
from workflows.saga_types import Kind
from workflows.steps import CLEAR_CART, TABLE

RULES = {REGULAR: FAST, LOCAL: LOCALLY}
KIND = {step.name: step.kind for step in TABLE}
FIRST, PIVOT = DOS[0], CLEAR_CART.name
PARKING = {Kind.GATE: "UNKNOWN_ITEM", Kind.REPAIR: "SCHEDULE_CONFLICT", Kind.PIVOT: "CARDS_FAILED"}


async def refused_for_good(world: World, step: str, lane: str) -> None:
    """A refusal that ends: only a gate's does; it undoes what was done before and gives the money back."""
    purchase = Purchase(world, RULES[lane], brings=brings(step))
    purchase.plan(step, "refuse", "COURSE_UNAVAILABLE")
    await purchase.start()
    if KIND[step] is Kind.GATE:
        await require_made_whole(
            purchase, asked=purchase.until(step), ended_as="COURSE_UNAVAILABLE", last_done=False, attention=False
        )
    else:
        await _parks_then_completes(purchase, step, "COURSE_UNAVAILABLE")


async def refused_for_now(world: World, step: str, lane: str) -> None:
    """A refusal that parks waits for somebody, and goes on when asked."""
    purchase = Purchase(world, RULES[lane], brings=brings(step))
    purchase.plan(step, "refuse", PARKING[KIND[step]])
    await purchase.start()
    await _parks_then_completes(purchase, step, PARKING[KIND[step]])


async def _parks_then_completes(purchase: Purchase, step: str, code: str) -> None:
    seen = await purchase.parked()
    assert (seen.stage, seen.code) == (step, code)
    assert not purchase.is_done(step)
    purchase.plan(step, "refuse").unlink()
    assert await purchase.retry_now() == "done"
    await require_completed(purchase, attention=True)


async def trouble_that_passes(world: World, step: str, lane: str) -> None:
    """Two tries fail inside the step's transaction: the third does it once, and nobody was needed."""
    purchase = Purchase(world, RULES[lane], brings=brings(step))
    trouble = purchase.trouble(step, times=2)
    await purchase.start()
    await require_completed(purchase, attention=False)
    assert trouble.tries >= 3


async def trouble_that_lasts(world: World, step: str, lane: str) -> None:
    """The step parks as STEP_TROUBLE and refunds nobody; when the fault is lifted it goes on by itself."""
    purchase = Purchase(world, RULES[lane], brings=brings(step))
    trouble = purchase.trouble(step)
    await purchase.start()
    seen = await purchase.parked()
    assert (seen.stage, seen.code, seen.next_try is None) == (step, "STEP_TROUBLE", False)
    facts = purchase.facts()
    assert (facts["ending"], facts["refunds"], facts["given_back"]) == ([None, None, None], [], [])
    assert "undone" not in facts["steps"].values()
    trouble.lift()
    await require_completed(purchase, attention=True)


async def trouble_that_lasts_at_the_end(world: World, lane: str) -> None:
    """All is taken back; the ending is told for as long as it takes, and another cancel changes nothing any more."""
    purchase = Purchase(world, RULES[lane])
    trouble = purchase.trouble(ANNOUNCE)
    await purchase.start_and_cancel_with_everything()
    seen = await purchase.parked()
    assert (seen.stage, seen.code) == (ANNOUNCE, "STEP_TROUBLE")
    await purchase.cancel("client")
    trouble.lift()
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED")


async def cancelled_before(world: World, step: str, how: str, lane: str) -> None:
    """The cancel arrives when the step before is done: this one never begins."""
    purchase = Purchase(world, replace(UNHURRIED, lane=lane), brings=brings(step))
    sentence = purchase.sentence
    at = sentence.index(step)
    if at == 0:
        await purchase.start(start_delay=timedelta(seconds=10))  # the cancel is there before the first task
        await purchase.cancel(how)
        await _is_made_whole(purchase, [], how)
        return
    before = sentence[at - 1]
    held = purchase.plan(before, "hold_after", nth=sentence[:at].count(before))
    await purchase.start()
    await entered(held)
    await purchase.cancel(how)
    release(held)
    await _is_made_whole(purchase, sentence[:at], how)


async def cancelled_during(world: World, step: str, how: str, lane: str) -> None:
    """The cancel arrives while the step's transaction is committing."""
    purchase = Purchase(world, replace(UNHURRIED, lane=lane), brings=brings(step))
    async with held_commit(world.engine, mark_of(step, purchase.order)) as hold:
        await purchase.start()
        await hold.entered()
        await purchase.cancel(how)
        await _nothing_is_undone_yet(purchase)
    # Of several at once the first that was heard decides: here the operators'.
    await _ends_as_cancelled(purchase, step, "operator" if how == "all" else how)


async def cancelled_after(world: World, step: str, how: str, lane: str) -> None:
    """The cancel arrives when the step is done and Temporal does not know it yet."""
    purchase = Purchase(world, replace(UNHURRIED, lane=lane), brings=brings(step))
    held = purchase.hold(step, "hold_after")
    await purchase.start()
    await entered(held[0])
    assert purchase.is_done(step)
    await purchase.cancel(how)
    await _nothing_is_undone_yet(purchase)
    release(*held)
    await _ends_as_cancelled(purchase, step, how)


async def _nothing_is_undone_yet(purchase: Purchase) -> None:
    """No undo may overtake the do that it belongs to."""
    assert not set(await purchase.asked_for()) & set(UNDOS)


async def _ends_as_cancelled(purchase: Purchase, step: str, how: str) -> None:
    if step == PIVOT:  # from the cart on the student keeps the course
        await require_completed(purchase, attention=False)
    else:
        await _is_made_whole(purchase, purchase.until(step), how)


async def _is_made_whole(purchase: Purchase, asked: list[str], how: str) -> None:
    ended_as = "CANCELLED" if how == "operator" else "Canceled"
    await require_made_whole(purchase, asked=asked, ended_as=ended_as, attention=False)


CASES = [
    *[Case(trouble_that_lasts_at_the_end, (lane,)) for lane in RULES],
    *[
        Case(story, (step, lane))
        for step in DOS
        for story in (refused_for_good, refused_for_now, trouble_that_passes, trouble_that_lasts)
        for lane in RULES
    ],
    *[
        Case(story, (step, how, lane))
        for step in DOS
        for story in (cancelled_before, cancelled_during, cancelled_after)
        for how in ("operator", "client")
        for lane in RULES
        if (step, story, how) != (FIRST, cancelled_before, "operator")  # a message finds the first step begun
    ],
    *[Case(cancelled_during, (step, "all", lane)) for step in DOS for lane in RULES],
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_at_a_step_ends_right(case: Case, together: Together) -> None:
    await together.ended(case)


async def test_nothing_the_faults_left_behind_breaks_an_invariant(together: Together, world: World) -> None:
    await together.all_ended()
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
