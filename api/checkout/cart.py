"""`/api/v1/cart`: the caller's own cart. Prices are the catalogue's; no request can set one (mission rows 18, 88)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from api.checkout.catalogue import ItemType
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.idempotency import MaybeKey
from api.http.ids import GivenInPath
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.errors import BadRequest, Conflict, NotFound, Unavailable, Unprocessable
from application.ids import GivenId
from application.storable_json import FreeObject
from db.cart import MAX_ITEMS, CartFull, ToAdd, add_to_cart, empty_cart, take_out
from db.reads.cart import cart_of
from db.reads.catalogue import is_open
from domain.ids import cart_item_id_of

router = APIRouter(prefix="/api/v1/cart", tags=["shop"])

_SAID: dict[str, Any] = {"startDate": "2026-12-01", "timeSlot": "18:00", "scheduleType": "weekly", "sessionCount": 10}
_ITEM: dict[str, Any] = {
    "id": "0d1f6c1e-0c57-4a6e-9d5c-6c1f0a3b2d11",
    "itemType": "course",
    "itemId": "course-piano",
    "metadata": _SAID,
    "title": "Piano",
    "priceMinor": 50000,
    "currency": "USD",
    "fulfilment": "sessions",
    "open": True,
}


class AddToCart(Body):
    """An item, and what the student wants of it: `metadata`, kept verbatim.

    It is read as in a payment: `timeSlot`, `classTime`, `preferredTimeSlot`, `date`, `startDate`, `preferredDate`,
    `sessionCount`, `groupSize`, `learningMode` and others; unknown keys are kept.
    """

    item_type: ItemType
    item_id: GivenId
    metadata: FreeObject = Field(default_factory=dict[str, Any])
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"itemType": "course", "itemId": "course-piano", "metadata": _SAID}]}
    )


class CartItemView(Answer):
    """One item in the cart. What the catalogue says is null if it does not have the item (any more)."""

    id: str
    item_type: str
    item_id: str
    metadata: dict[str, Any]
    title: str | None
    price_minor: int | None
    currency: str | None
    fulfilment: str | None
    open: bool
    model_config = ConfigDict(json_schema_extra={"examples": [_ITEM]})


class CartView(Answer):
    """The items, in the order they were added."""

    items: list[CartItemView]
    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_ITEM]}]})


class CartItemAdded(Answer):
    """`id` becomes the `processingItemId` of the payment line that buys it."""

    id: str
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _ITEM["id"]}]})


@router.get("", summary="The caller's cart", responses=problems(Unprocessable, Unavailable))
async def show_cart(services: ServicesDep, who: CallerDep) -> CartView:
    """Prices are today's; checkout takes those of the time it is called."""
    async with services.reading() as conn:
        lines = await cart_of(conn, who.subject)
    return CartView(items=[CartItemView.model_validate({**vars(line), "metadata": line.details}) for line in lines])


@router.post(
    "/items",
    status_code=201,
    summary="Put an item into the cart",
    responses={
        200: {"model": CartItemAdded, "description": "The same request was sent before; nothing changed."},
        **problems(BadRequest, Conflict, Unprocessable, Unavailable),
    },
)
async def add_cart_item(
    body: AddToCart, services: ServicesDep, who: CallerDep, key: MaybeKey, response: Response
) -> CartItemAdded:
    """The same item may be there twice. With an `Idempotency-Key` the same request adds it only once."""
    async with services.reading() as conn:
        opened = await is_open(conn, body.item_type, body.item_id)
    if opened is None:
        raise Unprocessable(code="UNKNOWN_ITEM", detail="The catalogue has no such item.")
    if not opened:
        raise Conflict(code="COURSE_UNAVAILABLE", detail="This item can no longer be bought.")
    cart_item_id = cart_item_id_of(who.subject, key) if key else str(uuid4())
    try:
        thing = ToAdd(cart_item_id, who.subject, body.item_type, body.item_id, body.metadata)
        is_new = await add_to_cart(services.engine, thing, key)
    except CartFull as full:
        raise Conflict(code="CART_FULL", detail=f"A cart holds {MAX_ITEMS} items at most.") from full
    response.status_code = 201 if is_new else 200
    return CartItemAdded(id=cart_item_id)


@router.delete(
    "/items/{cart_item_id}",
    status_code=204,
    summary="Take one thing out of the cart",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def remove_cart_item(cart_item_id: GivenInPath, services: ServicesDep, who: CallerDep) -> None:
    """An item in another student's cart is answered like one that does not exist."""
    if not await take_out(services.engine, cart_item_id, who.subject):
        raise NotFound(code="CART_ITEM_NOT_FOUND", detail="Nothing in your cart has this id.")


@router.delete("", status_code=204, summary="Empty the cart", responses=problems(Unprocessable, Unavailable))
async def clear_cart(services: ServicesDep, who: CallerDep) -> None:
    """Purchases that were started are not affected."""
    await empty_cart(services.engine, who.subject)
