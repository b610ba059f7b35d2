"""Start the workflows of a payment, one per line, however often and however concurrently a door asks for it.

The order (spec section 10): the payment is read; a row per line is committed; only then a workflow starts. A row
without a workflow (Temporal was away), or whose run was closed by hand, is started by the next caller: an open row
alone is no proof of a run.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from application.context import Services
from application.errors import Unavailable
from application.request_turns import waiting
from application.temporal_client import RPC_TIMEOUT, answering, run_state
from db.reads.payments import PaidLine, PaymentToStart
from db.reads.starts import Outcome, StartRow, Unfinished, outcomes_of, starts_of, starts_of_payment, unfinished_of
from db.starts import IncomingEvent, record_new_attempt, record_starts, taking_turns
from domain.ids import purchase_id_of, workflow_id_of
from domain.money import amount
from domain.purchase import PurchaseOrder
from workflows.attributes import ITEM_ID, NEEDS_ATTENTION, ORIGIN, PAYMENT_ID, PURCHASE_STAGE, RUNNING, STUDENT_ID
from workflows.purchase import PurchaseInput, PurchaseWorkflow
from workflows.saga_types import ContinuedState
from workflows.steps import CONFIRM_PAYMENT, TABLE

_PAID_STATUSES = frozenset({"succeeded", "partially_refunded"})
_SUMMARY = 130  # characters; the server takes 400 bytes
_LOOK_AGAIN = 1.0  # seconds between looks at the row while a caller waits for it and no bell rings

_log = structlog.get_logger()


@dataclass(frozen=True)
class LineStarted:
    """What the door answers for a line. `state`: started, running, completed, refused, cancelled."""

    line: int
    id: str
    workflow_id: str
    state: str


async def start_lines(
    services: Services, payment: PaymentToStart, origin: str, event: IncomingEvent | None = None
) -> list[LineStarted]:
    """Start every line that has no workflow yet. Raises `Unavailable`; asking again then goes on.

    `event`: the event that asks for it, if one does; it is stored in one transaction with the rows of its lines.
    """
    await record_starts(
        services.engine, [order_of(payment, line, origin) for line in payment.lines], services.clock(), event
    )
    async with services.reading() as conn:
        rows = await starts_of_payment(conn, payment.payment_id)  # one of an older version has the ids of its day
    answers: list[LineStarted] = []
    for line in payment.lines:
        row = rows[line.line]
        state = await _start(services, payment, line, row)
        answers.append(LineStarted(line.line, row.purchase_id, row.workflow_id, state))
    return answers


async def wait_for_rows(services: Services, lines: list[LineStarted], seconds: float) -> dict[str, Outcome]:
    """Wait until every line has its purchase row or its ending, `seconds` at most; return what was seen last, by id."""
    ids = [line.id for line in lines]
    now = asyncio.get_running_loop().time
    until = now() + seconds
    with services.watchers.bell(*ids) as bell:
        while True:
            bell.clear()  # before the look, so that what is committed after it rings again
            async with services.reading() as conn:
                seen = await outcomes_of(conn, ids)
            settled = all(outcome.has_row or outcome.ending for outcome in seen.values())
            if settled or (left := until - now()) <= 0:
                return seen
            async with waiting():
                with suppress(TimeoutError):
                    await asyncio.wait_for(bell.wait(), min(_LOOK_AGAIN, left))


def order_of(payment: PaymentToStart, line: PaidLine, origin: str) -> PurchaseOrder:
    """Return the order for the workflow of a line that nobody has started yet."""
    workflow_id = workflow_id_of(payment.payment_id, line.line)
    return PurchaseOrder(
        purchase_id=purchase_id_of(workflow_id),
        workflow_id=workflow_id,
        payment_id=payment.payment_id,
        line=line.line,
        student_id=payment.student_id,
        origin=origin,
    )


async def _start(services: Services, payment: PaymentToStart, line: PaidLine, row: StartRow) -> str:
    if row.ending:
        if not (row.took_no_money and payment.status in _PAID_STATUSES and not line.given_back):
            return row.ending
        row = await _next_attempt(services, row)
        if row.ending:
            return row.ending
    return await start_row(services, line, row)


async def start_row(services: Services, line: PaidLine, row: StartRow) -> str:
    """Start the purchase of a row unless it runs; return its state: started (by this call), running, or its ending."""
    order = row.order
    if row.begun:  # there was a run, though Temporal may have forgotten it
        return await _start_again(services, line, order)
    if not await _start_workflow(services, line, order, WorkflowIDReusePolicy.REJECT_DUPLICATE):
        return await _ending_now(services, order) or await _start_again(services, line, order)
    _log.info("purchase_started", payment_id=order.payment_id, workflow_id=order.workflow_id, attempt=order.attempt)
    return "started"


async def _start_again(services: Services, line: PaidLine, order: PurchaseOrder) -> str:
    """Do the same for an order that has had a run: one closed before its ending gets another, once for all doors.

    The ledger answers what is done. So the new run stays at the same attempt, where whatever the closed run has still
    under way meets the same rows.
    """
    run = await run_state(services.temporal, order.workflow_id)
    if run and run.kind.open:
        return "running"
    async with taking_turns(services.engine, order.purchase_id) as conn:
        run = await run_state(services.temporal, order.workflow_id)
        row = (await starts_of(conn, [order.purchase_id]))[order.purchase_id]
        if row.ending or (run and run.kind.open):
            return row.ending or "running"
        resumed = _resumed(await unfinished_of(conn, order.purchase_id))
        order = replace(order, attempt=row.attempt)
        if not await _start_workflow(services, line, order, WorkflowIDReusePolicy.ALLOW_DUPLICATE, resumed):
            return "running"
    closed = run.kind.status if run else None
    _log.warning("purchase_started_again", workflow_id=order.workflow_id, attempt=order.attempt, closed=closed)
    return "started"


def _resumed(left: Unfinished) -> ContinuedState:
    """Return what a new run begins with: operators' decisions on the run before, and a rollback it has to finish.

    All undos are owed: the run before may have done any of the steps, and a cancel may come before this one knows.
    """
    code = "CANCELLED" if left.cancelled else "ALREADY_MADE_WHOLE" if left.undone else ""
    return ContinuedState(
        stage="rolling_back" if code else CONFIRM_PAYMENT.name,
        patience={},
        undos=[step.name for step in TABLE],
        skipped=left.skipped,
        acts=[],
        held=[],
        code=code,
    )


async def _start_workflow(
    services: Services,
    line: PaidLine,
    order: PurchaseOrder,
    reuse: WorkflowIDReusePolicy,
    resumed: ContinuedState | None = None,
) -> bool:
    """Start the workflow; return False when a run of this id prevents that: it was started before."""
    async with answering("start"):
        try:
            await services.temporal.start_workflow(
                PurchaseWorkflow.run,
                PurchaseInput(order, services.rules, resumed),
                id=order.workflow_id,
                task_queue=services.task_queue,
                id_reuse_policy=reuse,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                rpc_timeout=RPC_TIMEOUT,
                static_summary=f"{_paid_by(order)}: {line.item_type} {line.item_id}"[:_SUMMARY],
                static_details=_details(order, line),
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(STUDENT_ID, order.student_id),
                        SearchAttributePair(ITEM_ID, line.item_id),
                        *([SearchAttributePair(PAYMENT_ID, order.payment_id)] if order.payment_id else []),
                        SearchAttributePair(ORIGIN, order.origin),
                        SearchAttributePair(PURCHASE_STAGE, RUNNING),
                        SearchAttributePair(NEEDS_ATTENTION, False),
                    ]
                ),
            )
        except WorkflowAlreadyStartedError:
            return False
    return True


def _paid_by(order: PurchaseOrder) -> str:
    return f"{order.payment_id} line {order.line}" if order.payment_id else f"{order.origin}, without a payment"


def _details(order: PurchaseOrder, line: PaidLine) -> str:
    """Return the static details for Temporal UI: what was paid for, where to read more, and nothing personal."""
    title = " ".join(line.title.split()).replace("`", "'")[:200] if line.title else "not in the catalogue"
    return "\n".join(
        (
            f"**{'Paid for' if order.payment_id else 'Asked for'}:** `{title}`, the {line.item_type} `{line.item_id}`;"
            f" {amount(line.amount_minor, line.currency).strip()}\n",
            f"- student `{order.student_id}`",
            f"- payment `{order.payment_id}`, line {order.line}" if order.payment_id else "- no payment",
            f"- purchase `{order.purchase_id}`, started by the door `{order.origin}`",
            f"- case file: `coursaga purchases case {order.purchase_id}`,"
            f" or `GET /api/v1/admin/purchases/{order.purchase_id}/case`",
            "- what to do about each reason to wait: docs/runbook.md",
        )
    )


async def _next_attempt(services: Services, row: StartRow) -> StartRow:
    run = await run_state(services.temporal, row.workflow_id)
    if run and run.kind.open:  # its row says ended, its run closes in a moment; a start now would meet the old run
        raise Unavailable(code="PREVIOUS_ATTEMPT_CLOSING", detail="The line's earlier attempt is just ending.")
    await record_new_attempt(services.engine, row.purchase_id, row.attempt, services.clock())
    async with services.reading() as conn:
        return (await starts_of(conn, [row.purchase_id]))[row.purchase_id]


async def _ending_now(services: Services, order: PurchaseOrder) -> str | None:
    """Return the row's ending, read after Temporal said that a run exists: it may have closed since the last read."""
    async with services.reading() as conn:
        return (await starts_of(conn, [order.purchase_id]))[order.purchase_id].ending
