"""`/api/v1/purchases`: start the purchases of a payment, look at one."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi_rfc9457.server import problems

from api.auth import CallerDep
from api.direct import WAIT, create_directly
from api.direct_bodies import DirectPurchase, StartAnswer, StartBody, StartedLine, StartedLines
from api.found import found
from api.ids import IdempotencyKey, PurchaseInPath, bare, purchase_id_from
from api.problems import BadRequest, Conflict, NotFound, Unavailable, Unprocessable
from api.services import Services, ServicesDep
from api.settling import settled
from api.starting import LineStarted, start_lines, wait_for_rows
from api.temporal import RunState, run_state, workers_poll
from api.views import PurchaseView, purchase_view
from db.reads.access import access_of, renewals_of
from db.reads.payments import payment_to_start
from db.reads.purchases import bought, lessons_of, remaining_of, steps_of, trainer_held
from db.reads.starts import StartRow

router = APIRouter(prefix="/api/v1/purchases", tags=["purchases"])

_MOST_WAIT = 30.0


@router.post(
    "",
    status_code=202,
    summary="Start a workflow for every line of a payment, or give a student a course by hand",
    responses={
        200: {"model": StartAnswer, "description": "It was all there before; nothing changed."},
        201: {"model": StartAnswer, "description": "Started now, and every purchase row exists."},
        **problems(BadRequest, NotFound, Conflict, Unprocessable, Unavailable),
    },
)
async def start_purchases(
    body: StartBody,
    at: ServicesDep,
    who: CallerDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Annotated[str, Header(description="`wait=10` waits up to that many seconds (30 at most)")] = "",
) -> StartAnswer:
    """Safe to repeat, from any number of callers at once: a line gets one workflow and one purchase, ever.

    Of a payment (`{paymentId}`): a 503 means that some lines may not have been started: send the same request again.
    A line that ended without money taken starts again once its payment has succeeded.

    By hand (`{studentId, courseId, ...}`): waits 8 s for the purchase, or as long as `Prefer: wait` says; 201 new, 200
    the student has it already, 202 not there yet. Without a payment Idempotency-Key is required; with one, what the
    payment says of the lessons wins over the request.
    """
    wanted = body.root
    if isinstance(wanted, DirectPurchase):
        wait = _wait_of(prefer, WAIT)
        return StartAnswer(await create_directly(at, who, wanted, bare(idempotency_key), wait, response))
    return StartAnswer(await _of_payment(at, wanted.payment_id, _wait_of(prefer, 0.0), response))


@router.get(
    "/{purchase}",
    summary="A purchase: steps, stage, attention, trainer, lessons, ending",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def show_purchase(purchase: PurchaseInPath, at: ServicesDep, who: CallerDep) -> PurchaseView:
    """Facts come from the database; stage and attention of a running purchase from Temporal, workers needed or not."""
    purchase_id = purchase_id_from(purchase)
    async with at.reading() as conn:
        start = await found(conn, purchase_id, who)
        item = await bought(conn, purchase_id)
        steps = await steps_of(conn, purchase_id)
        held = await trainer_held(conn, purchase_id)
        lessons = await lessons_of(conn, purchase_id)
        remaining = await remaining_of(conn, purchase_id, at.clock())
        access = await access_of(conn, purchase_id, at.clock())
        renewals = await renewals_of(conn, purchase_id, at.clock())
    run, reached, worker = await live(at, start)
    return purchase_view(
        start, item, steps, held, lessons, remaining, access, renewals, run, reached=reached, worker=worker
    )


async def live(at: Services, start: StartRow) -> tuple[RunState | None, bool, str]:
    """The run, whether Temporal answered, and whether a worker is up. A silent Temporal is no error here."""
    try:
        run = await run_state(at.temporal, start.workflow_id)
        return run, True, "up" if await workers_poll(at.temporal, at.task_queue) else "down"
    except Unavailable:
        return None, False, "unknown"


async def _of_payment(at: Services, payment_id: str, wait: float, response: Response) -> StartedLines:
    async with at.reading() as conn:
        payment = await payment_to_start(conn, payment_id)
    if payment is None:
        raise NotFound(code="PAYMENT_NOT_FOUND", detail="No payment has this id; nothing was started or stored.")
    lines = await start_lines(at, await settled(at, payment), "checkout")
    response.status_code = await _status(at, lines, wait)
    if lines:
        response.headers["Location"] = f"{router.prefix}/{lines[0].id}"
    return StartedLines(lines=[StartedLine(**vars(line)) for line in lines])


async def _status(at: Services, lines: list[LineStarted], wait: float) -> int:
    if all(line.state != "started" for line in lines):
        return 200
    if wait:
        rows = await wait_for_rows(at, lines, wait)
        if all(line.id in rows and rows[line.id].has_row for line in lines):
            return 201
    return 202


def _wait_of(prefer: str, otherwise: float) -> float:
    """Seconds of `Prefer: wait=N`; a preference that cannot be read is ignored (RFC 7240)."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", prefer, re.IGNORECASE)
    return min(float(found[1]), _MOST_WAIT) if found else otherwise
