"""The event door turns an event of another system into workflows of its payment, for HTTP, the consumer and replays.

The event and the rows of what it starts are committed together; only then workflows start. A redelivery of an event
whose workflows were all started is answered at once; one whose consumer died in between goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from application.context import Services
from application.errors import NotFound
from application.event_schema import ConfirmedData, PurchaseConfirmed, read_event
from application.payment_status import refresh_payment_status
from application.start_purchases import LineStarted, start_lines
from db.reads.events import was_handled
from db.reads.payments import PaymentToStart, payment_to_start
from db.reads.starts import starts_of_payment
from db.starts import IncomingEvent, event_handled

_log = structlog.get_logger()


@dataclass(frozen=True)
class Ingested:
    """The result of an event. `duplicate`: it was handled before, or this delivery had nothing left to start."""

    key: str
    duplicate: bool
    lines: list[LineStarted]


async def ingest(services: Services, raw: bytes) -> Ingested:
    """Take one event: start a workflow for every line of its payment that has none (mission rows 20, 26).

    Raises `Unprocessable` for what is no event of ours and `NotFound` for an unknown payment or another student's (then
    nothing is stored), `Unavailable` (or the database's own errors) when a server does not answer: the same event sent
    again then goes on.
    """
    event = read_event(raw)
    async with services.reading() as conn:
        # First: what says another student's is refused, also once the true one was handled.
        payment = _theirs(await payment_to_start(conn, event.data.payment_id), event.data)
        handled = await was_handled(conn, event.key) and not await _goes_on(conn, payment)
    if handled:
        _log.info("event_duplicate", key=event.key, payment_id=event.data.payment_id)
        return Ingested(event.key, duplicate=True, lines=[])
    payment = await refresh_payment_status(services, payment)
    lines = await start_lines(services, payment, "event", _incoming(event, payment))
    await event_handled(services.engine, event.key, services.clock())
    new = [line for line in lines if line.state == "started"]
    _log.info("event_taken", key=event.key, payment_id=payment.payment_id, started=len(new))
    return Ingested(event.key, duplicate=not new, lines=lines)


async def _goes_on(conn: AsyncConnection, payment: PaymentToStart) -> bool:
    """Return whether a line has no ending: its run may have been closed by hand, and then the event starts it again."""
    return any(row.ending is None for row in (await starts_of_payment(conn, payment.payment_id)).values())


def _theirs(payment: PaymentToStart | None, said: ConfirmedData) -> PaymentToStart:
    if payment is None or not payment.lines:
        raise NotFound(code="PAYMENT_NOT_FOUND", detail="No payment with a line has this id; nothing was started.")
    if payment.student_id != said.student_id:
        raise NotFound(code="PAYMENT_OWNER_MISMATCH", detail="The payment is another student's; nothing was started.")
    return payment


def _incoming(event: PurchaseConfirmed, payment: PaymentToStart) -> IncomingEvent:
    return IncomingEvent(
        key=event.key,
        event_id=event.id,
        type=event.type,
        payment_id=payment.payment_id,
        occurred_at=event.occurred_at,
        data=event.data.model_dump(by_alias=True, exclude_unset=True),
        metadata=_by_line(payment, event.data.metadata),
    )


def _by_line(payment: PaymentToStart, said: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Return what the event says of each line: it speaks of one item, that of the only line or the one it names."""
    if not said:
        return {}
    return {
        line.line: said for line in payment.lines if len(payment.lines) == 1 or line.item_id == said.get("courseId")
    }
