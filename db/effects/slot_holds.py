"""End slot holds whose time is over."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, text

from db.engine import at_once

# Raw: one statement. A purchase that takes the hold over at the same moment and this one meet at the row, and one of
# them wins.
_RELEASE = text("""
WITH ended AS (
  UPDATE allocations SET status = 'cancelled', cancelled_at = :now WHERE id = :id AND status = 'on_hold' RETURNING id
), slots AS (
  UPDATE trainer_slots SET status = 'cancelled' FROM ended WHERE allocation_id = ended.id
)
SELECT count(*) FROM ended
""")


def release(engine: Engine, hold_id: str, now: datetime) -> bool:
    """End a hold and free its times; return False when it had ended or had become a purchase's allocation."""
    with at_once(engine) as connection:
        return bool(connection.execute(_RELEASE, {"id": hold_id, "now": now}).scalar_one())
