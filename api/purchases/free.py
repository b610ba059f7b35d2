"""The free door: a student takes an item that costs nothing (mission row 39)."""

from __future__ import annotations

from functools import partial
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import ConfigDict

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import IdempotencyKey, bare
from api.http.json_models import Body
from api.http.prefer import Prefer, wait_of
from api.http.problems import problems
from api.purchases.bodies import PurchaseEnvelope
from api.purchases.grant import WAIT, answered
from application.errors import Conflict, Forbidden, NotFound, Unavailable, Unprocessable
from application.ids import GivenId
from application.start_without_payment import begin, is_there, require_for_sale, unpaid
from db.reads.shelf import shelf_of
from db.request_keys import Key
from db.requests import Request, claim_free
from domain.ids import free_workflow_id_of

router = APIRouter(prefix="/api/public", tags=["purchases"])


class FreeItem(Body):
    """The item. The token says for whom, the catalogue what it costs."""

    item_type: Literal["course", "subject", "bundle", "test"]
    item_id: GivenId
    model_config = ConfigDict(json_schema_extra={"examples": [{"itemType": "test", "itemId": "test-free"}]})


@router.post(
    "/purchase-free",
    status_code=201,
    summary="Take an item that costs nothing",
    responses={
        200: {"model": PurchaseEnvelope, "description": "The student has it already; nothing changed."},
        202: {"model": PurchaseEnvelope, "description": "Started; the purchase is not there yet."},
        **problems(NotFound, Conflict, Unprocessable, Unavailable),
    },
)
async def take_free_item(
    body: FreeItem,
    services: ServicesDep,
    who: CallerDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = "",
) -> PurchaseEnvelope:
    """A course is its materials, without lessons; a subject brings its test cards.

    An item with a price is 403 (`ITEM_NOT_FREE`). While the student has it, every call answers with the same purchase.
    Once that was voided, refunded or has expired, the next call makes a new one; an Idempotency-Key used before keeps
    its purchase. Waits 8 s for it, or as long as `Prefer: wait` says.
    """
    student, item = who.subject, (body.item_type, body.item_id)
    async with services.reading() as conn:
        shelf = await shelf_of(conn, student, *item)
    if shelf.price_minor:
        raise Forbidden(code="ITEM_NOT_FREE", detail="This item has a price: buy it at checkout.")
    require_for_sale(shelf, student, *item)
    said = {"courseId": body.item_id} if body.item_type == "course" else {}
    request = Request(student, *item, said, actor=student)
    name = partial(free_workflow_id_of, student, *item)
    key = bare(idempotency_key)
    named = Key("free", student, key, body.model_dump()) if key else None
    purchase_id = await claim_free(services.engine, name, request, services.clock(), named)
    begun = await begin(services, purchase_id, student, unpaid(shelf, *item))
    return answered(response, begun, there=await is_there(services, begun, wait_of(prefer, WAIT)))
