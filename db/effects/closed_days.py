"""Find purchases with lessons to come on a closed day, and those lessons of one purchase."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, text

from db.closed_days import STRANDED, Stranded, stranded_of
from db.engine import at_once

_STRANDED = text(STRANDED)


def purchases_with_stranded(engine: Engine, now: datetime, after: str, most: int) -> list[str]:
    """Return the ids of up to `most` purchases that have such lessons, in order, beginning after `after`."""
    with at_once(engine) as connection:
        stranded = stranded_of(connection.execute(_STRANDED, {"now": now, "purchase_id": None}))
    ids = sorted({each.purchase_id for each in stranded})
    return [purchase_id for purchase_id in ids if purchase_id > after][:most]


def stranded_in(connection: Connection, purchase_id: str, now: datetime) -> list[Stranded]:
    """Return the lessons of one purchase that are on a closed day."""
    return stranded_of(connection.execute(_STRANDED, {"now": now, "purchase_id": purchase_id}))
