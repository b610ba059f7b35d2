"""What the direct and the free door share: they check the item, start the purchase and wait a moment for its row."""

from __future__ import annotations

from dataclasses import dataclass

from application.context import Services
from application.errors import Conflict, NotFound, Unprocessable
from application.start_purchases import LineStarted, start_row, wait_for_rows
from db.reads.payments import PaidLine
from db.reads.shelf import Shelf
from db.reads.starts import StartRow, starts_of

MADE_WHOLE = ("refused", "cancelled")


@dataclass(frozen=True)
class StartedPurchase:
    """A purchase after a door handled it. `state`: started (by this call), running, completed, refused, cancelled."""

    row: StartRow
    state: str


def require_for_sale(shelf: Shelf, student_id: str, item_type: str, item_id: str) -> None:
    """Raise NotFound for an unknown student, Unprocessable for an item that is unknown or closed (mission row 13)."""
    if not shelf.student_known:
        raise NotFound(code="STUDENT_NOT_FOUND", detail="No student has this id; nothing was stored.")
    if shelf.fulfilment is None:
        raise Unprocessable(code="UNKNOWN_ITEM", detail="The catalogue has no item of this itemType and itemId.")
    if not shelf.open:
        raise Unprocessable(code="COURSE_UNAVAILABLE", detail=f"The {item_type} {item_id} is closed.")


def unpaid(shelf: Shelf, item_type: str, item_id: str) -> PaidLine:
    """Return the item as a payment line of amount 0, though there is no payment."""
    return PaidLine(1, item_type, item_id, shelf.title, 0, shelf.currency or "")


async def begin(services: Services, purchase_id: str, student_id: str, line: PaidLine) -> StartedPurchase:
    """Start the purchase whose id a claim returned, unless it runs, has ended or belongs to a payment.

    Raises Conflict (CONFLICT_OTHER_OWNER) when the purchase turns out to be another student's.
    """
    async with services.reading() as conn:
        row = (await starts_of(conn, [purchase_id]))[purchase_id]
    if row.student_id != student_id:
        raise other_owner()
    if row.ending or row.payment_id is not None:
        return StartedPurchase(row, row.ending or "running")
    return StartedPurchase(row, await start_row(services, line, row))


async def is_there(services: Services, begun: StartedPurchase, wait: float) -> bool:
    """Wait up to `wait` seconds for the purchase row; return whether it is there.

    Raises Conflict with the code of its ending when the purchase was made whole.
    """
    row = begun.row
    line = LineStarted(row.line, row.purchase_id, row.workflow_id, begun.state)
    outcome = (await wait_for_rows(services, [line], wait))[row.purchase_id]
    if outcome.ending in MADE_WHOLE:
        raise await _ended(services, row)
    return outcome.has_row


def other_owner() -> Conflict:
    return Conflict(code="CONFLICT_OTHER_OWNER", detail="This is another student's already; nothing was started.")


async def _ended(services: Services, row: StartRow) -> Conflict:
    async with services.reading() as conn:
        now = (await starts_of(conn, [row.purchase_id]))[row.purchase_id]
    detail = f"Purchase {row.purchase_id} ended ({now.code or now.ending}); nothing was given by it."
    return Conflict(code=now.code or "CANCELLED", detail=detail)
