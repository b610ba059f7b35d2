"""The step at which a purchase stands that goes from step to step: read from its ledger, not asked of Temporal."""

from __future__ import annotations

from collections.abc import Collection

STARTING = "starting"
# The steps in their order, by what is bought; the last one completes the purchase.
_OF_ALL = ("confirm_payment", "create_purchase")
_OF = {
    "sessions": ("enroll", "assign_trainer", "approve_allocation", "create_sessions"),
    "test_cards": ("enroll", "issue_test_cards"),
    "ownership": (),
}
_LAST = "clear_cart"


def stage_of(done: Collection[str], fulfilment: str | None) -> str:
    """Return the first step that is not `done`; STARTING if none is. `fulfilment` None: not created yet.

    A step that is left out where nothing costs coins is never named: whoever is at it is about to be at the next.
    """
    if not done:
        return STARTING
    steps = (*_OF_ALL, *_OF.get(fulfilment or "", ()), _LAST)
    return next((step for step in steps if step not in done), _LAST)
