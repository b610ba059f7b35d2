"""Read what can be bought: open items, by type and id."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import col

from db.rows import optional_row_as, rows_as
from db.tables import CatalogueItem


@dataclass(frozen=True)
class ItemForSale:
    """An open item. `subjects`: what a bundle holds; empty for everything else."""

    item_type: str
    id: str
    title: str
    price_minor: int
    currency: str
    fulfilment: str
    subjects: list[str]


# Raw: each item with the subjects of its bundle as one array, a page in byte order.
_OPEN = """
    SELECT item_type, id, title, price_minor, currency, fulfilment,
           ARRAY(SELECT subject_id FROM bundle_subjects
                  WHERE item_type = 'bundle' AND bundle_id = catalogue_items.id ORDER BY subject_id) AS subjects
      FROM catalogue_items WHERE open
"""
# Ids in byte order, as the key after which a page begins is compared, whatever the database's collation.
_PAGE = text(
    f'{_OPEN} AND (item_type, id COLLATE "C") > (:after_type, :after_id)'
    " AND (CAST(:item_type AS text) IS NULL OR item_type = :item_type)"
    ' ORDER BY item_type, id COLLATE "C" LIMIT :limit'
)
_ONE = text(f"{_OPEN} AND item_type = :item_type AND id = :id")
_KNOWN = select(col(CatalogueItem.open)).where(
    col(CatalogueItem.item_type) == bindparam("item_type"), col(CatalogueItem.id) == bindparam("id")
)


async def items_for_sale(
    conn: AsyncConnection, item_type: str | None, after: tuple[str, str], limit: int
) -> list[ItemForSale]:
    """Return up to `limit` open items in order, after the (type, id) `after`; `item_type` None: of every type."""
    values = {"item_type": item_type, "after_type": after[0], "after_id": after[1], "limit": limit}
    return rows_as(ItemForSale, await conn.execute(_PAGE, values))


async def item_for_sale(conn: AsyncConnection, item_type: str, item_id: str) -> ItemForSale | None:
    """Return an open item, None when there is none or it is closed."""
    return optional_row_as(ItemForSale, await conn.execute(_ONE, {"item_type": item_type, "id": item_id}))


async def is_open(conn: AsyncConnection, item_type: str, item_id: str) -> bool | None:
    """Return whether the item is open, None when the catalogue has no such item."""
    return (await conn.execute(_KNOWN, {"item_type": item_type, "id": item_id})).scalar_one_or_none()
