"""`/api/v1/catalogue`: the items for sale, for any signed-in caller (mission row 91)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.http.dependencies import ServicesDep
from api.http.ids import GivenInPath
from api.http.json_models import Answer
from api.http.problems import problems
from application.errors import NotFound, Unavailable, Unprocessable
from db.reads.catalogue import item_for_sale, items_for_sale

router = APIRouter(prefix="/api/v1/catalogue", tags=["shop"])

ItemType = Literal["course", "subject", "bundle", "test"]

_ITEM: dict[str, Any] = {
    "itemType": "course",
    "id": "course-piano",
    "title": "Piano",
    "priceMinor": 50000,
    "currency": "USD",
    "fulfilment": "sessions",
    "subjects": [],
}


class ItemView(Answer):
    """An open item, priced in minor units. `fulfilment`: sessions, test_cards or ownership; `subjects`: of a bundle."""

    item_type: str
    id: str
    title: str
    price_minor: int
    currency: str
    fulfilment: str
    subjects: list[str]
    model_config = ConfigDict(json_schema_extra={"examples": [_ITEM]})


class CataloguePage(Answer):
    """Open items by type and id. `nextCursor` null: this was the last page."""

    items: list[ItemView]
    next_cursor: str | None
    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_ITEM], "nextCursor": None}]})


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: ItemType | None = Field(None, description="items of this type only")
    limit: int = Field(100, ge=1, le=500)
    cursor: str | None = Field(
        None, pattern=r"^(course|subject|bundle|test)/[^\x00-\x1f\x7f-\x9f]{1,200}$", description="`nextCursor` before"
    )


@router.get("", summary="Open items, in pages", responses=problems(Unprocessable, Unavailable))
async def list_catalogue(wanted: Annotated[_Wanted, Query()], services: ServicesDep) -> CataloguePage:
    """Closed items are left out; purchases of them are not affected."""
    item_type, _, item_id = (wanted.cursor or "").partition("/")
    async with services.reading() as conn:
        found = await items_for_sale(conn, wanted.type, (item_type, item_id), wanted.limit + 1)
    items, more = found[: wanted.limit], len(found) > wanted.limit
    return CataloguePage(
        items=[ItemView(**vars(item)) for item in items],
        next_cursor=f"{items[-1].item_type}/{items[-1].id}" if more else None,
    )


@router.get("/{item_type}/{item_id}", summary="An open item", responses=problems(NotFound, Unprocessable, Unavailable))
async def show_item(item_type: ItemType, item_id: GivenInPath, services: ServicesDep) -> ItemView:
    """A closed item is answered like one that does not exist."""
    async with services.reading() as conn:
        item = await item_for_sale(conn, item_type, item_id)
    if item is None:
        raise NotFound(code="ITEM_NOT_FOUND", detail="Nothing of this name is for sale.")
    return ItemView(**vars(item))
