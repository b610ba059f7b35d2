"""Where each activity leaves its mark: the row whose commit makes its effect true. Faults in the database aim at it."""

from __future__ import annotations

from dataclasses import dataclass

from domain.purchase import PurchaseOrder
from workflows.steps import CLEAR_CART, CONFIRM_PAYMENT, CREATE_SESSIONS, ISSUE_TEST_CARDS, TABLE

ANNOUNCE = "announce"
DOS = [step.name for step in TABLE]
UNDO_OF = {step.name: step.undo.__name__ for step in TABLE}
DO_OF = {undo: do for do, undo in UNDO_OF.items()}
UNDOS = list(UNDO_OF.values())[::-1]  # in the order they run: all of them, whatever was done
IN_ROLLBACK = [*UNDOS, ANNOUNCE]
LESSONS, CARDS = "sessions", "test_cards"  # what a purchase brings
# The steps in their order, by what it brings.
SENTENCES = {
    LESSONS: [*DOS[:7], CLEAR_CART.name],
    CARDS: [*DOS[:4], ISSUE_TEST_CARDS.name, CLEAR_CART.name],
}

# The columns of a mark, per table: whose it is, then what it says. A card is no mark of a step: it is one of many.
COLUMNS = {
    "purchase_steps": ("purchase_id", "step", "state"),
    "refunds": ("payment_id", "status"),
    "sessions": ("purchase_id", "status"),
    "mock_test_attempts": ("purchase_id", "test_number"),
    "outbox": ("key",),
}


def brings(activity: str) -> str:
    """What has to be bought so that it comes to this do or undo."""
    return CARDS if DO_OF.get(activity, activity) == ISSUE_TEST_CARDS.name else LESSONS


@dataclass(frozen=True)
class Mark:
    """A row: its table, its owner's id and what its other columns of COLUMNS hold once the effect is there."""

    table: str
    owner: str
    values: tuple[str, ...] = ()

    @property
    def point(self) -> str:
        """How the triggers name it, besides its owner."""
        return ":".join((self.table, *self.values))


def mark_of(activity: str, order: PurchaseOrder) -> Mark:
    """The last thing this activity commits. Most do it with their ledger row; two have more to do, one has no such row."""
    if activity == UNDO_OF[CONFIRM_PAYMENT.name]:
        return Mark("refunds", order.payment_id, ("succeeded",))
    if activity == UNDO_OF[CREATE_SESSIONS.name]:
        return Mark("sessions", order.purchase_id, ("cancelled",))
    if activity == ANNOUNCE:
        return Mark("outbox", f"purchase:{order.purchase_id}:PURCHASE_REFUNDED")
    return ledger_row_of(activity, order)


def ledger_row_of(activity: str, order: PurchaseOrder) -> Mark:
    """The row of a do or an undo in the step ledger."""
    state = "undone" if activity in DO_OF else "done"
    return Mark("purchase_steps", order.purchase_id, (DO_OF.get(activity, activity), state))
