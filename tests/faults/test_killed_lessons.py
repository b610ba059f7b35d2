"""A worker that loses its power in the middle of thirty lessons: exactly thirty stand in the end (mission row 81)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from tests.build import rows, run, value
from tests.faults.purchases import FAST, Purchase
from tests.faults.world import World
from tests.invariants import violations
from tests.waiting import eventually

THIRTY = 30
AT_ONCE = 6
LOCKS = 4712  # the class of our advisory locks
KILLED = replace(FAST, attempt=3)  # a worker that is gone is noticed when its try is over

# The INSERT of all lessons stands still at one of them, the earlier ones written and not committed. As the owner:
# workers cannot read where.
STOPS = """
CREATE TABLE stops (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, purchase_id text UNIQUE, number integer);
CREATE FUNCTION stands_still() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE stop integer := (SELECT id FROM stops WHERE (purchase_id, number) = (NEW.purchase_id, NEW.number));
BEGIN
  IF stop IS NOT NULL THEN
    PERFORM set_config('lock_timeout', '0', true);
    PERFORM pg_advisory_xact_lock_shared({locks}, stop);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stands_still BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION stands_still();
"""


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
async def test_a_worker_killed_in_the_middle_of_thirty_lessons_leaves_thirty(world: World, kills: int) -> None:
    if not value(world.engine, "SELECT to_regclass('stops') IS NOT NULL"):
        with world.engine.begin() as connection:
            connection.exec_driver_sql(STOPS.replace("{locks}", str(LOCKS)))
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    chance, gate = random.Random(seed), asyncio.Semaphore(AT_ONCE)
    at = [chance.randrange(2, THIRTY + 1) for _ in range(kills)]

    async def one(number: int, lost: bool) -> None:
        async with gate:
            await _killed_at(world, number, lost=lost)

    await asyncio.gather(*(one(number, lost=nth % 2 == 0) for nth, number in enumerate(at)))
    assert violations(world.engine, world.provider.url) == []


async def _killed_at(world: World, number: int, *, lost: bool) -> None:
    """`lost`: the database forgets what the dead worker had begun; else it ends it with nobody there to hear."""
    purchase = Purchase(world, KILLED, alone=True, lessons=THIRTY)
    order, engine = purchase.order, world.engine
    run(engine, "INSERT INTO stops (purchase_id, number) VALUES (:id, :number)", id=order.purchase_id, number=number)
    stop = value(engine, "SELECT id FROM stops WHERE purchase_id = :id", id=order.purchase_id)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:locks, :stop)"), {"locks": LOCKS, "stop": stop})
        connection.commit()
        worker = purchase.worker()
        await purchase.start()
        await eventually(lambda: _waiting(engine, stop) is not None)
        assert value(engine, "SELECT count(*) FROM sessions WHERE purchase_id = :id", id=order.purchase_id) == 0
        worker.kill()
        if lost:
            value(engine, "SELECT pg_terminate_backend(:pid, 5000)", pid=_waiting(engine, stop))
        run(engine, "DELETE FROM stops WHERE id = :stop", stop=stop)
        connection.execute(text("SELECT pg_advisory_unlock(:locks, :stop)"), {"locks": LOCKS, "stop": stop})
        connection.commit()
    successor = purchase.worker()
    assert await purchase.ending() == "completed"
    successor.kill()
    made = rows(
        engine,
        "SELECT number FROM sessions WHERE purchase_id = :id AND status = 'scheduled' ORDER BY 1",
        id=order.purchase_id,
    )
    assert [row.number for row in made] == list(range(1, THIRTY + 1))
    assert value(engine, "SELECT count(*) FROM sessions WHERE purchase_id = :id", id=order.purchase_id) == THIRTY


def _waiting(engine: Engine, stop: int) -> int | None:
    """The backend that stands still."""
    return value(
        engine,
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND (classid, objid) = (CAST(:locks AS oid), CAST(:stop AS oid))",
        locks=LOCKS,
        stop=stop,
    )
