"""Every undo, of a purchase that had everything, under trouble, a refusing provider and a cancel: all is taken back, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.endings import require_made_whole, require_taken_back
from tests.faults.marks import DO_OF, DOS, UNDOS, brings
from tests.faults.purchases import FAST, Purchase, entered, release
from tests.faults.together import Case, Together
from tests.faults.world import World
from tests.invariants import violations, violations_of_runs

PIVOT, REFUND = UNDOS[0], UNDOS[-1]
# What the provider may do to a refund before it works. The first three did nothing, the others did it and did not say so.
PROVIDER_FAULTS = ("500_before", "429", "timeout_before", "500_after", "timeout_after", "reset")


async def undo_in_passing_trouble(world: World, undo: str) -> None:
    """Two tries fail inside the undo's transaction; the third takes it back, in its place of the order."""
    purchase = Purchase(world, brings=brings(undo))
    trouble = purchase.trouble(undo, times=2)
    await purchase.start_and_cancel_with_everything()
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED", attention=False)
    assert trouble.tries >= 3


async def undo_in_lasting_trouble(world: World, undo: str) -> None:
    """It waits aside, visibly; the others are done meanwhile; when the fault is lifted it is done too."""
    purchase = Purchase(world, brings=brings(undo))
    trouble = purchase.trouble(undo)
    await purchase.start_and_cancel_with_everything()
    seen = await purchase.parked()
    assert (seen.stage, seen.code) == ("rolling_back", "REFUND_UNKNOWN" if undo == REFUND else "COMPENSATION_STUCK")
    facts = purchase.facts()
    assert facts["ending"][:2] == [None, None]
    if undo == PIVOT:  # all others wait until it is known that nothing was completed
        assert facts["steps"] == dict.fromkeys(purchase.everything, "done")
    else:
        assert {**facts["steps"], DO_OF[undo]: "undone"} == dict.fromkeys(DOS, "undone")
        # The refund's ledger row comes before the money; a step that never was has no row yet.
        assert facts["steps"].get(DO_OF[undo]) == ("undone" if undo == REFUND else "done")
    trouble.lift()
    assert await purchase.ending() == "CANCELLED"
    tried = [name for name in await purchase.asked_for() if name in UNDOS]
    assert tried[: len(UNDOS)] == UNDOS
    assert set(tried[len(UNDOS) :]) <= {undo}
    require_taken_back(purchase, purchase.everything, "CANCELLED", attention=None)


async def undo_during_another_cancel(world: World, undo: str) -> None:
    """Temporal's own cancel and an operator's second one arrive while it runs: neither stops it or the rest."""
    purchase = Purchase(world, brings=brings(undo))
    held = purchase.hold(undo, "hold_before")
    await purchase.start_and_cancel_with_everything()
    await entered(held[0])
    await purchase.cancel("client")
    await purchase.cancel("operator")
    release(*held)
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED", attention=False)


async def refund_when_the_provider(world: World, action: str) -> None:
    """The provider stumbles, having done it or not: the money goes back exactly once."""
    purchase = Purchase(world)
    world.provider.plan(_fault(purchase, action))
    await purchase.start_and_cancel_with_everything()
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED")


async def refund_the_provider_refuses(world: World) -> None:
    """Shown as REFUND_FAILED and never as refunded, until the provider relents."""
    purchase = Purchase(world, replace(FAST, trouble_pause=600, trouble_pause_most=600))
    world.provider.plan(_fault(purchase, "refuse"))
    await purchase.start_and_cancel_with_everything()
    seen = await purchase.parked()
    assert (seen.stage, seen.code) == ("rolling_back", "REFUND_FAILED")
    facts = purchase.facts()
    assert (facts["ending"], facts["refunds"][0][0], facts["given_back"]) == ([None, None, None], "failed", [])
    await purchase.retry_now()
    await require_made_whole(purchase, asked=purchase.everything, ended_as="CANCELLED")


def _fault(purchase: Purchase, action: str) -> dict[str, Any]:
    return {"operation": "refund", "paymentId": purchase.order.payment_id, "action": action}


CASES = [
    *[Case(story, (undo,)) for story in (undo_in_passing_trouble, undo_in_lasting_trouble, undo_during_another_cancel) for undo in UNDOS],
    *[Case(refund_when_the_provider, (action,)) for action in PROVIDER_FAULTS],
    Case(refund_the_provider_refuses, ()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_at_an_undo_ends_right(case: Case, together: Together) -> None:
    await together.ended(case)


async def test_nothing_the_faults_left_behind_breaks_an_invariant(together: Together, world: World) -> None:
    await together.all_ended()
    assert violations(world.engine, world.provider.url) == []
    assert await violations_of_runs(world.engine, world.temporal) == []
