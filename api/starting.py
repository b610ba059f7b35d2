"""The door: from a payment to running workflows, one per line, however often and however concurrently it is asked.

Order of things (spec section 10): the payment is read; a row per line is committed; only then a workflow starts. A row
without a workflow (Temporal was away) is started by the next caller, so an open row never answers for Temporal.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import structlog
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.problems import Unavailable
from api.services import Services
from api.temporal import RPC_TIMEOUT, answering, run_state
from db.reads.payments import PaidLine, PaymentToStart
from db.reads.starts import Outcome, StartRow, outcomes_of, starts_of
from db.starts import IncomingEvent, record_new_attempt, record_starts
from domain.purchase import PurchaseOrder, purchase_id_of, workflow_id_of
from workflows.attributes import ITEM_ID, NEEDS_ATTENTION, ORIGIN, PAYMENT_ID, PURCHASE_STAGE, STUDENT_ID
from workflows.purchase import PurchaseInput, PurchaseWorkflow

_GOOD = frozenset({"succeeded", "partially_refunded"})
_SUMMARY = 130  # characters; the server takes 400 bytes
_LOOK_AGAIN = 0.03  # seconds between looks at the row while a caller waits for it

_log = structlog.get_logger()


@dataclass(frozen=True)
class LineStarted:
    """What the door answers for a line. `state`: started, running, completed, refused, cancelled."""

    line: int
    id: str
    workflow_id: str
    state: str


async def start_lines(
    at: Services, payment: PaymentToStart, origin: str, event: IncomingEvent | None = None
) -> list[LineStarted]:
    """Start every line that has no workflow yet. Raises `Unavailable`; asking again then goes on.

    `event`: what the event door was told; it is taken together with the rows of its lines.
    """
    orders = {line.line: _order(payment, line, origin) for line in payment.lines}
    await record_starts(at.engine, list(orders.values()), event)
    rows = await _rows(at, orders)
    answers: list[LineStarted] = []
    for line in payment.lines:
        order = orders[line.line]
        state = await _start(at, payment, line, order, rows[order.purchase_id])
        answers.append(LineStarted(line.line, order.purchase_id, order.workflow_id, state))
    return answers


async def wait_for_rows(at: Services, lines: list[LineStarted], seconds: float) -> dict[str, Outcome]:
    """Look until every line has its purchase row or its ending, or the time is up; what was seen last, by id."""
    ids = [line.id for line in lines]
    until = asyncio.get_running_loop().time() + seconds
    while True:
        async with at.reading() as conn:
            seen = await outcomes_of(conn, ids)
        settled = all(outcome.has_row or outcome.ending for outcome in seen.values())
        if settled or asyncio.get_running_loop().time() >= until:
            return seen
        await asyncio.sleep(_LOOK_AGAIN)


def _order(payment: PaymentToStart, line: PaidLine, origin: str) -> PurchaseOrder:
    workflow_id = workflow_id_of(payment.payment_id, line.line)
    return PurchaseOrder(
        purchase_id=purchase_id_of(workflow_id),
        workflow_id=workflow_id,
        payment_id=payment.payment_id,
        line=line.line,
        student_id=payment.student_id,
        origin=origin,
    )


async def _rows(at: Services, orders: dict[int, PurchaseOrder]) -> dict[str, StartRow]:
    async with at.reading() as conn:
        return await starts_of(conn, [order.purchase_id for order in orders.values()])


async def _start(at: Services, payment: PaymentToStart, line: PaidLine, order: PurchaseOrder, row: StartRow) -> str:
    if row.ending:
        if not (row.took_no_money and payment.status in _GOOD):
            return row.ending
        row = await _next_attempt(at, row)
        if row.ending:
            return row.ending
    return await start_order(at, line, replace(order, origin=row.origin, attempt=row.attempt))


async def start_order(at: Services, line: PaidLine, order: PurchaseOrder) -> str:
    """The state of an order whose row is there: started (by this call), running, or how it ended meanwhile."""
    if not await _start_workflow(at, line, order):
        return await _ending_now(at, order) or "running"
    _log.info("purchase_started", payment_id=order.payment_id, workflow_id=order.workflow_id, attempt=order.attempt)
    return "started"


async def _start_workflow(at: Services, line: PaidLine, order: PurchaseOrder) -> bool:
    """False when Temporal has a run of this id that stands in the way: it was started before."""
    again = order.attempt > 1
    async with answering("start"):
        try:
            await at.temporal.start_workflow(
                PurchaseWorkflow.run,
                PurchaseInput(order, at.rules),
                id=order.workflow_id,
                task_queue=at.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
                if again
                else WorkflowIDReusePolicy.REJECT_DUPLICATE,
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
                        SearchAttributePair(PURCHASE_STAGE, "starting"),
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
    """What Temporal UI shows beside the current details: what was paid for, and where there is more. Nothing personal."""
    title = " ".join(line.title.split()).replace("`", "'")[:200] if line.title else "not in the catalogue"
    return "\n".join(
        (
            f"**{'Paid for' if order.payment_id else 'Asked for'}:** `{title}`, the {line.item_type} `{line.item_id}`;"
            f" {line.amount_minor} minor units {line.currency}\n",
            f"- student `{order.student_id}`",
            f"- payment `{order.payment_id}`, line {order.line}" if order.payment_id else "- no payment",
            f"- purchase `{order.purchase_id}`, started by the door `{order.origin}`",
            f"- case file: `coursaga purchases case {order.workflow_id}`,"
            f" or `GET /api/v1/admin/purchases/{order.workflow_id}/case`",
            "- what to do about each reason to wait: docs/runbook.md",
        )
    )


async def _next_attempt(at: Services, row: StartRow) -> StartRow:
    run = await run_state(at.temporal, row.workflow_id)
    if run and run.running:  # its row says ended, its run closes in a moment; a start now would meet the old run
        raise Unavailable(code="PREVIOUS_ATTEMPT_CLOSING", detail="The line's earlier attempt is just ending.")
    await record_new_attempt(at.engine, row.purchase_id, row.attempt)
    async with at.reading() as conn:
        return (await starts_of(conn, [row.purchase_id]))[row.purchase_id]


async def _ending_now(at: Services, order: PurchaseOrder) -> str | None:
    """The row's ending, read after Temporal said the run exists: it may have closed since the row was read."""
    async with at.reading() as conn:
        return (await starts_of(conn, [order.purchase_id]))[order.purchase_id].ending
