"""`GET /api/v1/admin/purchases`: what was started and what became of it, in pages.

Rows come from the database. Whether one without an ending needs attention, since when and when it tries again comes
from Temporal's visibility, in one query per page, so it is right with all workers down. A run that visibility does not
show as open is asked for by its id (`application/purchase_state.py`).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.http.dependencies import ServicesDep
from api.http.json_models import Answer
from api.http.known_words import Attention, Code, Stage
from api.http.openapi_examples import PURCHASE_ROW
from api.http.problems import problems
from api.purchases.list_rows import PurchaseRow, purchase_row
from application.context import Services
from application.errors import Unavailable, Unprocessable
from application.ids import GIVEN_PATTERN, ID_PATTERN, StudentId
from application.purchase_state import needing_somebody, standing
from application.run_states import RunState
from application.stages import may_be_at, placed
from application.temporal_client import Condition, equals, running_runs
from db.reads.payments import unstarted_payments
from db.reads.purchase_list import ListedPurchase, Position, Wanted, page_of_purchases
from workflows.attributes import PAYMENT_ID, REPORTED_PROBLEMS, STUDENT_ID

router = APIRouter(prefix="/api/v1/admin", tags=["admin"])


class Filters(BaseModel):
    """Which purchases to list; all conditions hold at once."""

    model_config = ConfigDict(extra="forbid")

    attention: Attention | None = Field(None, description="`any`, or the reason it waits for somebody")
    code: Code | None = Field(None, description="ended with this code, or parked for it")
    student: StudentId | None = None
    payment: str | None = Field(None, pattern=ID_PATTERN)
    item: str | None = Field(None, pattern=GIVEN_PATTERN, description="id of the course, subject, bundle or test")
    stage: Stage | None = Field(None, description="the step it is at; running ones only")
    problems: Literal["true"] | None = Field(None, description="the workflow's code fails on it; running ones only")
    ending: Literal["completed", "refused", "attention", "running", "cancelled"] | None = None
    limit: int = Field(100, ge=1, le=500)
    cursor: str | None = Field(None, max_length=200, description="`nextCursor` of the page before")


class PurchasePage(Answer):
    """Purchases, oldest start first. `nextCursor` null: this was the last page."""

    purchases: list[PurchaseRow]
    next_cursor: str | None
    model_config = ConfigDict(json_schema_extra={"examples": [{"purchases": [PURCHASE_ROW], "nextCursor": None}]})


class UnstartedPage(Answer):
    """Payments with a line that no workflow has taken up. `nextAfter` null: this was the last page."""

    payment_ids: list[str]
    next_after: str | None
    model_config = ConfigDict(json_schema_extra={"examples": [{"paymentIds": ["pay-1", "pay-2"], "nextAfter": None}]})


@router.get("/purchases", summary="Purchases, in pages", responses=problems(Unprocessable, Unavailable))
async def list_purchases(filters: Annotated[Filters, Query()], services: ServicesDep) -> PurchasePage:
    """Filter by what they wait for, the step they are at, how they ended, code, student, payment or item."""
    after = _position(filters.cursor) if filters.cursor else None
    wanted, states = await _narrowed(services, filters)

    async def read() -> list[ListedPurchase]:
        async with services.reading() as conn:
            return await page_of_purchases(conn, wanted, after, filters.limit + 1, services.clock())

    found = await read()
    if states is None:
        states, ended = await standing(services, [row for row in found[: filters.limit] if row.ending is None])
        if ended:  # meanwhile: an ending beside what there was before it would be neither then nor now
            found = await read()
    rows, more = found[: filters.limit], len(found) > filters.limit
    return PurchasePage(
        purchases=[purchase_row(row, states.get(row.workflow_id)) for row in rows],
        next_cursor=_cursor(rows[-1]) if more else None,
    )


@router.get(
    "/payments/unstarted",
    summary="Payments with a line not started yet",
    responses=problems(Unprocessable, Unavailable),
)
async def list_unstarted(
    services: ServicesDep,
    after: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$", description="`nextAfter` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> UnstartedPage:
    """Send each of them to `POST /api/v1/purchases`, so that every paid line has its workflow."""
    async with services.reading() as conn:
        ids = await unstarted_payments(conn, after=after, limit=limit)
    return UnstartedPage(payment_ids=ids, next_after=ids[-1] if len(ids) == limit else None)


async def _narrowed(services: Services, filters: Filters) -> tuple[Wanted, dict[str, RunState] | None]:
    """Return what to read, and the running ones where the filters need them before the read."""
    wanted = Wanted(student=filters.student, payment=filters.payment, item=filters.item)
    parked_only = filters.attention is not None or filters.ending == "attention"
    at_work = filters.stage is not None or filters.problems is not None  # only Temporal knows
    if filters.ending in ("completed", "refused", "cancelled"):
        # An ended purchase is at no step and waits for nothing: with such a filter no row meets both.
        none: list[str] | None = [] if parked_only or at_work else None
        return replace(wanted, ending=filters.ending, code=filters.code, running_in=none), {}
    if filters.ending is None and not (parked_only or at_work or filters.code):
        return wanted, None
    if filters.ending == "running" and (parked_only or filters.code):  # what runs and does not wait has no code
        return replace(wanted, running_in=[]), {}
    conditions = _conditions(filters)
    if not at_work or parked_only or filters.code:
        reasons = {filters.attention, filters.code} - {None, "any", "true"}
        parked = await needing_somebody(
            services,
            *conditions,
            reasons=[reason for reason in reasons if reason],
            student=filters.student,
            payment=filters.payment,
            stage=filters.stage,
        )
        if filters.problems:
            parked = {name: run for name, run in parked.items() if run.problems}
        if filters.ending == "running":
            return replace(wanted, running_not_in=list(parked)), None
        return replace(wanted, running_in=list(parked), code=None if parked_only or at_work else filters.code), parked
    problems = f"{REPORTED_PROBLEMS.name} IS NOT NULL" if filters.problems else ""
    runs = await placed(services, await running_runs(services.temporal, *conditions, where=problems))
    if filters.stage:
        runs = {name: run for name, run in runs.items() if run.stage == filters.stage}
    if filters.ending == "running":
        runs = {name: run for name, run in runs.items() if run.attention is None}
    return replace(wanted, running_in=list(runs)), runs


def _conditions(filters: Filters) -> list[Condition]:
    asked = [(STUDENT_ID, filters.student), (PAYMENT_ID, filters.payment)]
    at = [may_be_at(filters.stage)] if filters.stage else []
    return [*at, *(equals(key, value) for key, value in asked if value is not None)]


def _cursor(row: ListedPurchase) -> str:
    return base64.urlsafe_b64encode(f"{row.started_at.isoformat()}|{row.purchase_id}".encode()).decode()


def _position(cursor: str) -> Position:
    try:
        at, _, purchase_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        position = Position(datetime.fromisoformat(at), purchase_id)
    except (ValueError, binascii.Error) as err:
        raise Unprocessable(code="INVALID_CURSOR", detail="This cursor is not one of ours.") from err
    if position.started_at.tzinfo is None or len(purchase_id) != 36 or "\0" in purchase_id:
        raise Unprocessable(code="INVALID_CURSOR", detail="This cursor is not one of ours.")
    return position
