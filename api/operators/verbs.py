"""`POST /api/v1/admin/purchases/{id}/{verb}`: an operator's act is a Temporal Update, validated and done once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from api.http.act_models import ActAnswer, ActBody
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.problems import problems
from api.operators.bodies import (
    BODIES,
    AmendBody,
    AssignTrainerBody,
    CancelBody,
    CreateSessionsBody,
    SettleRefundBody,
    SkipStepBody,
)
from application.caller import Caller
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.operator_acts import perform, started

router = APIRouter(prefix="/api/v1/admin/purchases", tags=["admin"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"model": ActAnswer, "description": "Accepted and under way; the same request again tells the outcome."},
    **problems(NotFound, Conflict, Unprocessable, Unavailable),
}


def _verb(name: str, summary: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the route of a verb, documented with underscores, understood with dashes too."""

    def register(route: Callable[..., Any]) -> Callable[..., Any]:
        if (dashed := name.replace("_", "-")) != name:
            router.post(f"/{{purchase}}/{dashed}", include_in_schema=False)(route)
        return router.post(f"/{{purchase}}/{name}", summary=summary, responses=_RESPONSES)(route)

    return register


@_verb("retry_now", "Try the parked step again now")
async def retry_now(
    purchase: PurchaseInPath, body: ActBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """Tries at once, not at the next planned time; retries a stuck undo of a rollback, too."""
    return await _act(services, who, purchase, "retry_now", body, response)


@_verb("amend", "Change what was bought or how, then try again")
async def amend(
    purchase: PurchaseInPath, body: AmendBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """Works only while the purchase is parked. The admin's values win over every other source of the metadata."""
    return await _act(services, who, purchase, "amend", body, response)


@_verb("skip_step", "Go on without the step it is parked at")
async def skip_step(
    purchase: PurchaseInPath, body: SkipStepBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """For repair steps only. Skipping `assign_trainer` skips approval and lessons, too."""
    return await _act(services, who, purchase, "skip_step", body, response)


@_verb("assign_trainer", "Give all lessons to this trainer")
async def assign_trainer(
    purchase: PurchaseInPath, body: AssignTrainerBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """Works only while the purchase is parked for a trainer, and if this one is free for every lesson."""
    return await _act(services, who, purchase, "assign_trainer", body, response)


@_verb("approve_allocation", "Say yes to the proposed trainer")
async def approve_allocation(
    purchase: PurchaseInPath, body: ActBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """The lessons are created at once."""
    return await _act(services, who, purchase, "approve_allocation", body, response)


@_verb("create_sessions", "Create the missing lessons now")
async def create_sessions(
    purchase: PurchaseInPath, body: CreateSessionsBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """`overrides` may change count or schedule. Lessons that exist are never made twice."""
    return await _act(services, who, purchase, "create_sessions", body, response)


@_verb("cancel", "Undo everything and give the money back")
async def cancel(
    purchase: PurchaseInPath, body: CancelBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """`refund` says how much goes back: full, undelivered or none. A large amount waits (202) for a second person.

    The answer then is `awaiting_second_person`; another subject sends the same verb, `requestKey` and `refund`.
    """
    return await _act(services, who, purchase, "cancel", body, response)


@_verb("settle_refund", "The stuck refund was given outside the provider")
async def settle_refund(
    purchase: PurchaseInPath, body: SettleRefundBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """Ends a rollback whose refund can never succeed. Waits (202) for a second person, whatever the amount."""
    return await _act(services, who, purchase, "settle_refund", body, response)


@_verb("withdraw", "Take back an act that waits for a second person")
async def withdraw(
    purchase: PurchaseInPath, body: ActBody, services: ServicesDep, who: CallerDep, response: Response
) -> ActAnswer:
    """`requestKey` is that of the held act. Anybody who may act may withdraw; the audit keeps who and why."""
    return await _act(services, who, purchase, "withdraw", body, response)


@router.post("/{purchase}/{verb}", include_in_schema=False)
async def unknown_verb(purchase: PurchaseInPath, verb: Annotated[str, Path()]) -> ActAnswer:
    """Answer 404 with the verbs that exist."""
    raise NotFound(code="UNKNOWN_VERB", detail=f"The verbs are {', '.join(BODIES)}.")


async def _act(
    services: Services, who: Caller, purchase: str, verb: str, body: ActBody, response: Response
) -> ActAnswer:
    start = await started(services, purchase_id_from(purchase), who)
    done, outcome = await perform(services, start, verb, body.act(who.subject))
    response.status_code = 200 if done else 202
    return ActAnswer(
        id=start.purchase_id,
        workflow_id=start.workflow_id,
        verb=verb,
        request_key=body.request_key,
        actor=who.subject,
        done=done,
        outcome=outcome,
    )
