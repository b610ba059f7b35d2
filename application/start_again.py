"""Start a purchase that has no ending and no run again by its own id, whichever door it came by."""

from __future__ import annotations

from dataclasses import replace

from application.context import Services
from application.errors import NotFound
from application.payment_status import refresh_payment_status
from application.start_purchases import LineStarted, start_lines, start_row
from application.start_without_payment import unpaid
from db.reads.payments import payment_to_start
from db.reads.shelf import shelf_of, stored_request
from db.reads.starts import StartRow


async def again(services: Services, start: StartRow) -> LineStarted:
    """Start the purchase as its door would; one that runs or has ended is answered so. Raises NotFound, Unavailable."""
    if start.payment_id:
        return await _of_payment(services, start, start.payment_id)
    async with services.reading() as conn:
        asked = await stored_request(conn, start.purchase_id)
        if asked is None:
            raise NotFound(code="PURCHASE_NOT_FOUND", detail="Nothing says what this purchase is of.")
        shelf = await shelf_of(conn, start.student_id, asked.item_type, asked.item_id)
    line = unpaid(shelf, asked.item_type, asked.item_id)
    state = start.ending or await start_row(services, line, start)
    return LineStarted(start.line, start.purchase_id, start.workflow_id, state)


async def _of_payment(services: Services, start: StartRow, payment_id: str) -> LineStarted:
    async with services.reading() as conn:
        payment = await payment_to_start(conn, payment_id)
    lines = [line for line in payment.lines if line.line == start.line] if payment else []
    if payment is None or not lines:
        raise NotFound(code="PAYMENT_NOT_FOUND", detail="No payment has this line; nothing was started.")
    (started,) = await start_lines(
        services, await refresh_payment_status(services, replace(payment, lines=tuple(lines))), start.origin
    )
    return started
