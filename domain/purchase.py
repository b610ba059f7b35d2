"""The types that cross Temporal: frozen, ids and plain values only. Nothing personal, nothing loaded from a table."""

from __future__ import annotations

from dataclasses import dataclass

ITEM_TYPES = ("course", "subject", "bundle", "test")
CARDS_PER_SUBJECT = 50  # test cards of each subject of a purchase (mission row 3)


@dataclass(frozen=True)
class PurchaseOrder:
    """What every do and every undo is told: which purchase. Activities load the rest by `purchase_id`.

    `attempt` counts the starts of the same line (a failed payment may become good later); ledger rows
    and tombstones are keyed by it. `origin` is the door: checkout, event, admin, free, reconciler. Without a payment
    `payment_id` is empty and `line` 1; what is bought then stands in `purchase_requests`.
    """

    purchase_id: str
    workflow_id: str
    payment_id: str
    line: int
    student_id: str
    origin: str = "checkout"
    attempt: int = 1


@dataclass(frozen=True)
class PaymentConfirmed:
    """The line is paid; the number of lessons is settled for good (mission row 75)."""

    session_count: int
    session_count_source: str
    amount_minor: int = 0  # what this line cost


@dataclass(frozen=True)
class PurchaseCreated:
    """The purchase row exists. `fulfilment` (sessions, test_cards, ownership) picks the steps that follow, and whether
    the line costs `coins`. `expires`: access ends some day."""

    fulfilment: str
    item_id: str
    coins: int = 0
    expires: bool = False


@dataclass(frozen=True)
class TrainerAssigned:
    """A trainer holds all the slots of the plan."""

    allocation_id: str
    trainer_id: str
    slots: int


@dataclass(frozen=True)
class SessionsCreated:
    """Lessons of the allocation: how many this call made, how many stood already, which numbers are missing."""

    outcome: str  # all, partial, none
    created: int
    existing: int
    missing: list[int]


@dataclass(frozen=True)
class Undone:
    """What an undo did. `changed` is False when there was nothing to undo; `refunded` only of the refund."""

    changed: bool
    refunded: bool = False


@dataclass(frozen=True)
class Announcement:
    """What became of a purchase, for the outbox and for the row that outlives Temporal's memory.

    `event`: PURCHASE_COMPLETED, PURCHASE_NEEDS_ATTENTION or PURCHASE_REFUNDED; empty when others need not know.
    `ending`: completed, refused, cancelled; empty while the purchase goes on.
    """

    order: PurchaseOrder
    event: str
    ending: str = ""
    code: str = ""
    skipped: list[str] | None = None
