"""Let the load that is kept with each trainer follow time, and find loads that are not what the slots say.

Triggers keep `trainers.load` as slots change. When a lesson begins nothing changes, so the load of its trainer is that
of before until somebody counts anew; whoever looks for a trainer counts those itself (`db.teaching.TRAINERS`).
"""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString

from sqlalchemy import Connection, Engine, text

AT_ONCE = 500  # trainers of one transaction, so that nobody waits long for one

# Whose load is not what the slots of purchases say; none, ever.
WRONG: LiteralString = """
SELECT trainers.id
FROM trainers LEFT JOIN (trainer_slots AS slot JOIN allocations AS allocation
    ON allocation.id = slot.allocation_id AND allocation.purchase_id IS NOT NULL)
  ON slot.trainer_id = trainers.id AND slot.status <> 'cancelled' AND lower(slot.during) > load_since
GROUP BY trainers.id
HAVING count(slot.number) <> load OR min(lower(slot.during)) < coalesce(load_until, 'infinity')
ORDER BY trainers.id"""

# Raw: they lock; and what is counted is one statement for all. SKIP LOCKED: who holds several never waits for another.
_LOCK_BEGUN = text("""
SELECT id FROM trainers WHERE load_until <= :now ORDER BY load_until LIMIT :most FOR NO KEY UPDATE SKIP LOCKED
""")
_LOCK = text("SELECT id FROM trainers WHERE id = ANY(CAST(:ids AS text[])) LIMIT :most FOR NO KEY UPDATE SKIP LOCKED")
# After the lock, so that it sees all that was committed by whoever held it before.
_COUNT = text("""
UPDATE trainers SET load = held.slots, load_since = :now, load_until = held.first
FROM unnest(CAST(:ids AS text[])) AS locked (id), LATERAL (
  SELECT count(*) AS slots, min(lower(during)) AS first
  FROM trainer_slots AS slot JOIN allocations AS allocation ON allocation.id = slot.allocation_id
  WHERE slot.trainer_id = locked.id AND slot.status <> 'cancelled' AND allocation.purchase_id IS NOT NULL
    AND slot.during && tstzrange(:now, NULL) AND lower(slot.during) > :now
) AS held
WHERE trainers.id = locked.id
""")
_WRONG = text(WRONG)


def count_begun(engine: Engine, now: datetime) -> int:
    """Count anew for up to AT_ONCE trainers who have begun a lesson since the last count; return for how many.

    Trainers whom somebody is just changing are left for the next call.
    """
    with engine.begin() as connection:
        return count_begun_in(connection, now)


def count_begun_in(connection: Connection, now: datetime, most: int = AT_ONCE) -> int:
    """Act as `count_begun` in the caller's transaction, for up to `most` trainers."""
    ids = list(connection.execute(_LOCK_BEGUN, {"now": now, "most": most}).scalars())
    if ids:
        connection.execute(_COUNT, {"now": now, "ids": ids})
    return len(ids)


def mend(engine: Engine, now: datetime) -> list[str]:
    """Count anew for up to AT_ONCE trainers whose load is wrong; return their ids. Triggers never leave one so."""
    with engine.begin() as connection:
        wrong = list(connection.execute(_WRONG).scalars())
        ids = list(connection.execute(_LOCK, {"ids": wrong, "most": AT_ONCE}).scalars()) if wrong else []
        if ids:
            connection.execute(_COUNT, {"now": now, "ids": ids})
    return ids
