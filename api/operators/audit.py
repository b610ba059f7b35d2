"""`GET .../{id}/acts`: the audit of a purchase."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.json_models import Answer
from api.http.problems import problems
from application.errors import NotFound, Unavailable, Unprocessable
from application.operator_acts import started
from db.reads.cases import acts_of

router = APIRouter(prefix="/api/v1/admin/purchases", tags=["admin"])

_EXAMPLE: dict[str, Any] = {
    "requestKey": "ticket-4711",
    "verb": "retry_now",
    "actor": "ann@example.test",
    "secondActor": None,
    "reason": "the trainer is back",
    "before": {"stage": "assign_trainer", "code": "NO_TRAINER_AVAILABLE"},
    "after": {"stage": "assign_trainer", "code": None, "outcome": "done"},
    "outcome": "done",
    "actedAt": "2026-11-21T10:07:00Z",
}


class ActView(Answer):
    """Who did what and why; how the purchase stood before and after."""

    request_key: str
    verb: str
    actor: str
    second_actor: str | None
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    acted_at: datetime


class Acts(Answer):
    """The acts, oldest first."""

    acts: list[ActView]
    model_config = ConfigDict(json_schema_extra={"examples": [{"acts": [_EXAMPLE]}]})


@router.get(
    "/{purchase}/acts",
    summary="What operators did to a purchase",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def list_acts(purchase: PurchaseInPath, services: ServicesDep, who: CallerDep) -> Acts:
    """The audit: one row per act, never changed. Where mended data woke the purchase, the actor is `system`."""
    start = await started(services, purchase_id_from(purchase), who)
    async with services.reading() as conn:
        rows = await acts_of(conn, start.purchase_id)
    return Acts(acts=[ActView(**{name: said for name, said in vars(row).items() if name != "values"}) for row in rows])
