"""`/api/v1/purchases`: start the purchases of a payment, or one by hand; look at one."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import IdempotencyKey, PurchaseInPath, bare, purchase_id_from
from api.http.prefer import Prefer, wait_of
from api.http.problems import problems
from api.purchases.bodies import DirectPurchase, StartAgain, StartAnswer, StartBody, StartedLine, StartedLines
from api.purchases.grant import DOOR, WAIT, create_directly
from api.purchases.student_views import StudentPurchaseView, student_view
from api.purchases.views import PurchaseView, purchase_view
from application.caller import Caller
from application.context import Services
from application.errors import BadRequest, Conflict, NotFound, Unavailable, Unprocessable
from application.find_purchase import found
from application.payment_status import refresh_payment_status
from application.purchase_state import live
from application.start_again import again
from application.start_purchases import LineStarted, start_lines, wait_for_rows
from db.reads.access import access_of, renewals_of
from db.reads.payments import payment_to_start
from db.reads.purchases import assigned_trainer, bought, lessons_of, remaining_of, steps_of
from db.request_keys import claim_key

router = APIRouter(prefix="/api/v1/purchases", tags=["purchases"])


@router.post(
    "",
    status_code=202,
    summary="Start a workflow for every line of a payment, start one again, or give a student a course by hand",
    responses={
        200: {"model": StartAnswer, "description": "It was all there before; nothing changed."},
        201: {"model": StartAnswer, "description": "Started now, and every purchase row exists."},
        **problems(BadRequest, NotFound, Conflict, Unprocessable, Unavailable),
    },
)
async def start_purchases(
    body: StartBody,
    services: ServicesDep,
    who: CallerDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = "",
) -> StartAnswer:
    """Safe to repeat, from any number of callers at once: a line gets one workflow and one purchase, ever.

    Of a payment (`{paymentId}`): a 503 means that some lines may not have been started: send the same request again. A
    line that ended without money taken starts again once its payment has succeeded. One whose run was closed in
    Temporal before it had an ending starts again whatever money it took, and does nothing twice.

    Of a purchase (`{purchaseId}`): the same of this one alone, also if it has no payment.

    By hand (`{studentId, courseId, ...}`): waits 8 s for the purchase, or as long as `Prefer: wait` says; 201 new, 200
    the student has it already, 202 not there yet. Without a payment Idempotency-Key is required; with one, what the
    payment says of the lessons wins over the request.
    """
    wanted = body.root
    if isinstance(wanted, DirectPurchase):
        wait = wait_of(prefer, WAIT)
        return StartAnswer(await create_directly(services, who, wanted, bare(idempotency_key), wait, response))
    wait = wait_of(prefer, 0.0)
    named = (who.subject, bare(idempotency_key))
    if isinstance(wanted, StartAgain):
        return StartAnswer(await _of_purchase(services, who, wanted.purchase_id, named, wait, response))
    return StartAnswer(await _of_payment(services, wanted.payment_id, named, wait, response))


@router.get(
    "/{purchase}",
    summary="A purchase: steps, stage, attention, trainer, lessons, ending",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def show_purchase(
    purchase: PurchaseInPath, services: ServicesDep, who: CallerDep
) -> PurchaseView | StudentPurchaseView:
    """Facts come from the database, stage and attention of a running purchase from Temporal; no worker is needed.

    Students get a form of their own: what there is and what it waits for, in their words.
    """
    purchase_id = purchase_id_from(purchase)
    async with services.reading() as conn:
        start = await found(conn, purchase_id, who)
    start, run, reached, worker = await live(services, start)
    async with services.reading() as conn:  # after its ending was: what it ended with is there
        item = await bought(conn, purchase_id)
        steps = await steps_of(conn, purchase_id)
        held = await assigned_trainer(conn, purchase_id)
        lessons = await lessons_of(conn, purchase_id)
        remaining = await remaining_of(conn, purchase_id, services.clock())
        access = await access_of(conn, purchase_id, services.clock())
        renewals = await renewals_of(conn, purchase_id, services.clock())
    seen = (start, item, steps, held, lessons, remaining, access, renewals, run)
    return purchase_view(*seen, reached=reached, worker=worker) if who.own is None else student_view(*seen)


async def _of_purchase(
    services: Services, who: Caller, purchase: str, named: tuple[str, str | None], wait: float, response: Response
) -> StartedLines:
    async with services.reading() as conn:
        start = await found(conn, purchase_id_from(purchase), who)
    await claim_key(services.engine, DOOR, *named, {"purchase_id": start.purchase_id})
    return await _answered(services, [await again(services, start)], wait, response)


async def _of_payment(
    services: Services, payment_id: str, named: tuple[str, str | None], wait: float, response: Response
) -> StartedLines:
    async with services.reading() as conn:
        payment = await payment_to_start(conn, payment_id)
    if payment is None:
        raise NotFound(code="PAYMENT_NOT_FOUND", detail="No payment has this id; nothing was started or stored.")
    await claim_key(services.engine, DOOR, *named, {"payment_id": payment_id})
    return await _answered(
        services,
        await start_lines(services, await refresh_payment_status(services, payment), "checkout"),
        wait,
        response,
    )


async def _answered(services: Services, lines: list[LineStarted], wait: float, response: Response) -> StartedLines:
    response.status_code = await _status(services, lines, wait)
    if lines:
        response.headers["Location"] = f"{router.prefix}/{lines[0].id}"
    return StartedLines(lines=[StartedLine(**vars(line)) for line in lines])


async def _status(services: Services, lines: list[LineStarted], wait: float) -> int:
    if all(line.state != "started" for line in lines):
        return 200
    if wait:
        rows = await wait_for_rows(services, lines, wait)
        if all(line.id in rows and rows[line.id].has_row for line in lines):
            return 201
    return 202
