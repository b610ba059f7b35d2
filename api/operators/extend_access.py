"""`POST /api/v1/admin/purchases/{id}/extend`: extend access, before its end or after it (mission rows 57, C16)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError

from api.http.act_models import ActAnswer
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.problems import problems
from api.operators.bodies import ExtendBody
from application.access_expiry import send_extension
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.operator_acts import ACTS, no_worker, outcome_of, require_taken, require_valid, started
from application.purchase_state import require_unpaused
from application.temporal_client import answering
from db.reads.cases import acts_of
from db.reads.purchases import bought
from db.reads.starts import StartRow
from db.request_keys import KeyReused, claim_key
from domain.ids import expiry_id_of
from workflows.messages import Extend

router = APIRouter(prefix="/api/v1/admin/purchases", tags=["admin"])


@router.post(
    "/{purchase}/extend",
    summary="Give access until a later day",
    responses={
        202: {"model": ActAnswer, "description": "Accepted and under way; the same request again tells the outcome."},
        **problems(NotFound, Conflict, Unprocessable, Unavailable),
    },
)
async def extend(
    purchase: PurchaseInPath, body: ExtendBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """Sets a later last day of access, that day included, in the student's own time zone.

    Works while access lasts and after it has ended. 409 `WRONG_STAGE` when the purchase has no access that ends, was
    renewed or taken back, or when the day is no extension; the detail says which.
    """
    start = await started(services, purchase_id_from(purchase), who)
    async with services.reading() as conn:
        if await bought(conn, start.purchase_id) is None:
            raise Conflict(code="WRONG_STAGE", detail="There is no purchase yet whose access could be extended.")
    said = body.act(who.subject)
    require_valid("extend", said)
    await require_unpaused(services.temporal, expiry_id_of(start.purchase_id))
    await _require_own_key(services, start, said)
    async with answering("update"):
        try:
            update = await send_extension(services, start, said)
        except WorkflowUpdateRPCTimeoutOrCancelledError as err:
            raise no_worker() from err
    done, outcome = await outcome_of(update)
    require_taken(outcome)
    response.status_code = 200 if done else 202
    return ActAnswer(
        id=start.purchase_id,
        workflow_id=start.workflow_id,
        verb="extend",
        request_key=said.request_key,
        actor=said.actor,
        done=done,
        outcome=outcome,
    )


async def _require_own_key(services: Services, start: StartRow, said: Extend) -> None:
    """Raise KeyReused when the key was used for another act on this purchase, also one still under way."""
    async with services.reading() as conn:
        kept = next(
            (act for act in await acts_of(conn, start.purchase_id) if act.request_key == said.request_key), None
        )
    asked = ("extend", said.values, said.reason)
    if kept is not None and (kept.verb, kept.values or said.values, kept.reason) != asked:
        raise KeyReused
    body = {"verb": "extend", "values": said.values, "reason": said.reason}
    await claim_key(services.engine, ACTS, start.purchase_id, said.request_key, body)
