"""The types that cross Temporal: frozen, ids and plain values only; nothing personal, nothing loaded from a table."""

from __future__ import annotations

from dataclasses import dataclass

ITEM_TYPES = ("course", "subject", "bundle", "test")
CARDS_PER_SUBJECT = 50  # test cards of each subject of a purchase (mission row 3)


@dataclass(frozen=True)
class PurchaseOrder:
    """The argument of every do and every undo: it names the purchase. Activities load the rest by `purchase_id`.

    `attempt` counts the starts of the same line (a failed payment may become good later); ledger rows
    and tombstones are keyed by it. `origin` is the door: checkout, event, admin, free, reconciler. Without a payment
    `payment_id` is empty and `line` is 1; the item is then stored in `purchase_requests`.
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
    """Result of `confirm_payment`: the line is paid, the number of lessons is settled for good (mission row 75)."""

    session_count: int
    session_count_source: str
    amount_minor: int = 0  # what this line cost


@dataclass(frozen=True)
class PurchaseCreated:
    """Result of `create_purchase`: the row exists. `fulfilment` (sessions, test_cards, ownership) picks the steps that
    follow; `coins` is what the line costs in coins; `expires`: access ends some day."""

    fulfilment: str
    item_id: str
    coins: int = 0
    expires: bool = False


@dataclass(frozen=True)
class TrainerAssigned:
    """Result of `assign_trainer`: the trainer holds all the slots of the plan. `approved`: nobody has to say yes."""

    allocation_id: str
    trainer_id: str
    slots: int
    approved: bool = False


@dataclass(frozen=True)
class SessionsCreated:
    """Result of `create_sessions`: how many lessons this call made, how many existed already, which are missing."""

    outcome: str  # all, partial, none
    created: int
    existing: int
    missing: list[int]


@dataclass(frozen=True)
class Undone:
    """Result of an undo. `changed` is False when there was nothing to undo.

    Only the refund sets `refunded`; only the undo of `clear_cart` sets `too_late`: the purchase is completed.
    """

    changed: bool
    refunded: bool = False
    too_late: bool = False


@dataclass(frozen=True)
class Announcement:
    """What became of a purchase, for the outbox and for the database row, which is kept longer than Temporal's history.

    `event`: PURCHASE_COMPLETED, PURCHASE_NEEDS_ATTENTION, PURCHASE_ATTENTION_ESCALATED or PURCHASE_REFUNDED; empty when
    others need not know. `ending`: completed, refused, cancelled; empty while the purchase goes on.
    """

    order: PurchaseOrder
    event: str
    ending: str = ""
    code: str = ""
    skipped: list[str] | None = None
