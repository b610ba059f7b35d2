"""The direct door: an admin or a service gives a student an item (mission rows 50, 53, 58, 59, 62, 63, C4, C5).

It starts the same workflow as every other door: with a payment its line's, without one `purchase:manual:{requestKey}`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from fastapi import Response

from api.purchases.bodies import DirectPurchase, PurchaseData, PurchaseEnvelope
from application.caller import Caller
from application.context import Services
from application.errors import BadRequest, Forbidden, NotFound, Unprocessable
from application.start_purchases import order_of, start_lines
from application.start_without_payment import StartedPurchase, begin, is_there, other_owner, require_for_sale, unpaid
from db.reads.payments import PaidLine, PaymentToStart, payment_to_start
from db.reads.shelf import shelf_of, stored_request
from db.reads.starts import starts_of, starts_of_payment
from db.request_keys import Key, KeyReused, claim_key
from db.requests import Request, claim_by_key, record_request
from domain.access import access_ends
from domain.days import DAY, day_of
from domain.ids import manual_workflow_id_of, purchase_id_of
from domain.metadata import canonicalise
from domain.refusals import Refused
from domain.wanted_lessons import lesson_faults, wanted_lessons

DOOR = "purchases"  # of request keys
_WESTERNMOST = "Etc/GMT+12"  # where a day is over last; the student's own zone is looked at later
_MESSAGES = {
    201: "Purchase created successfully", 200: "Purchase already exists", 202: "Purchase is being created",
}  # fmt: skip
WAIT = 8.0  # seconds for the purchase row, within the 10 s that callers give us (mission row 51)


async def create_directly(
    services: Services, who: Caller, body: DirectPurchase, key: str | None, wait: float, response: Response
) -> PurchaseEnvelope:
    """Start the purchase, wait up to `wait` seconds for its row, and return the answer.

    Raises Unprocessable, Forbidden, NotFound, Conflict before anything is stored; Conflict also if it was made whole;
    Unavailable: ask again.
    """
    _require_signed(who, body)
    _require_readable(body, services.clock())
    request = Request(body.student_id, *body.item, body.said(), who.subject, body.reason, supersede=body.supersede)
    begun = await (
        _of_payment(services, body, request, key) if body.payment_id else _by_hand(services, body, request, key)
    )
    return answered(response, begun, there=await is_there(services, begun, wait))


def answered(response: Response, begun: StartedPurchase, *, there: bool) -> PurchaseEnvelope:
    """Return `{success, message, data}`, as older systems read it; set the status (mission row 50) and Location."""
    row, status = begun.row, (201 if begun.state == "started" else 200) if there else 202
    response.status_code = status
    response.headers["Location"] = f"/api/v1/purchases/{row.purchase_id}"
    return PurchaseEnvelope(
        success=True,
        message=_MESSAGES[status],
        data=PurchaseData(
            id=row.purchase_id,
            workflow_id=row.workflow_id,
            payment_id=row.payment_id,
            line=row.line,
            student_id=row.student_id,
            state=begun.state,
        ),
    )


def _require_signed(who: Caller, body: DirectPurchase) -> None:
    if who.role == "admin" and body.reason is None:
        raise Unprocessable(code="REASON_MISSING", detail="An admin says why: `reason`.")
    if body.supersede and who.role != "admin":
        raise Forbidden(code="SUPERSEDE_IS_FOR_ADMINS", detail="Only an admin may supersede a purchase.")


def _require_readable(body: DirectPurchase, now: datetime) -> None:
    """Refuse what is malformed; what is missing may still come from the payment (mission row 63)."""
    fields = canonicalise(body.said()).fields
    faults = lesson_faults(fields)
    said = fields.get("expiryDate")
    last_day = day_of(said)
    if said is not None and last_day is None:
        faults.append(f"expiryDate is not {DAY}")
    elif last_day and access_ends(last_day, _WESTERNMOST) <= now:
        faults.append("expiryDate has passed")
    if faults:
        raise Unprocessable(code="METADATA_INCOMPLETE", detail="; ".join(faults)[:500])


async def _by_hand(services: Services, body: DirectPurchase, request: Request, key: str | None) -> StartedPurchase:
    if key is None:
        raise BadRequest(
            code="IDEMPOTENCY_KEY_MISSING",
            detail="Without a payment the header Idempotency-Key says which purchase this is, however often it is sent.",
        )
    async with services.reading() as conn:
        shelf = await shelf_of(conn, request.student_id, request.item_type, request.item_id)
    require_for_sale(shelf, request.student_id, request.item_type, request.item_id)
    if shelf.fulfilment == "sessions":
        _require_plan(request)
    workflow_id, named = manual_workflow_id_of(key), Key(DOOR, request.actor, key, body.model_dump(mode="json"))
    purchase_id = await claim_by_key(services.engine, workflow_id, request, services.clock(), named)
    if purchase_id == purchase_id_of(workflow_id):
        await _require_same(services, purchase_id, request)
    line = unpaid(shelf, request.item_type, request.item_id)
    return await begin(services, purchase_id, request.student_id, line)


def _require_plan(request: Request) -> None:
    try:
        wanted_lessons(canonicalise(request.metadata).fields)
    except Refused as refused:
        raise Unprocessable(code=refused.code, detail=str(refused)[:500]) from refused


async def _require_same(services: Services, purchase_id: str, request: Request) -> None:
    """Raise KeyReused if the key has started another request, whoever sent it."""
    async with services.reading() as conn:
        before = await stored_request(conn, purchase_id)
        start = (await starts_of(conn, [purchase_id]))[purchase_id]
    now = (request.item_type, request.item_id, request.metadata, request.supersede)
    same = before and (before.item_type, before.item_id, before.metadata, before.supersede) == now
    if not same or start.student_id != request.student_id:
        raise KeyReused


async def _of_payment(services: Services, body: DirectPurchase, request: Request, key: str | None) -> StartedPurchase:
    assert body.payment_id is not None
    async with services.reading() as conn:
        payment = await payment_to_start(conn, body.payment_id)
    if payment is None:
        raise NotFound(code="PAYMENT_NOT_FOUND", detail="No payment has this id; nothing was started or stored.")
    if payment.student_id != body.student_id:
        raise other_owner()
    line = _line_of(payment, body)
    await claim_key(services.engine, DOOR, request.actor, key, body.model_dump(mode="json"))
    payment = replace(payment, lines=(line,))
    async with services.reading() as conn:
        before = (await starts_of_payment(conn, payment.payment_id)).get(line.line)
    await record_request(
        services.engine, before.order if before else order_of(payment, line, "admin"), request, services.clock()
    )
    (started,) = await start_lines(services, payment, "admin")
    async with services.reading() as conn:
        return StartedPurchase((await starts_of(conn, [started.id]))[started.id], started.state)


def _line_of(payment: PaymentToStart, body: DirectPurchase) -> PaidLine:
    of_item = [line for line in payment.lines if (line.item_type, line.item_id) == body.item]
    fits = [line for line in of_item if body.line in (None, line.line)]
    if not fits:
        raise Unprocessable(code="LINE_NOT_FOUND", detail="The payment has no such line of this item.")
    if len(fits) > 1:
        raise Unprocessable(code="LINE_AMBIGUOUS", detail="The payment has this item more than once: say which line.")
    return fits[0]
