"""The steps of a purchase are listed as they were committed, also under a clock that stands."""

from __future__ import annotations

from sqlalchemy import Engine

from db import ledger
from db.engine import make_async_engine
from db.grants import API
from db.reads.purchases import steps_of
from tests import build
from tests.build import NOW
from tests.roles import as_role


async def test_in_the_order_of_their_commits(engine: Engine, database_url: str) -> None:
    order = build.purchase(engine)
    for step in ("confirm_payment", "create_purchase", "enroll", "assign_trainer"):
        ledger.do(engine, order, step, {}, now=NOW)
    ledger.undo(engine, order, "enroll", now=NOW)
    pool = make_async_engine(as_role(API, database_url), pool_size=1)
    async with pool.connect() as conn:
        steps = await steps_of(conn, order.purchase_id)
    await pool.dispose()
    assert [(step.step, step.state) for step in steps] == [
        ("confirm_payment", "done"), ("create_purchase", "done"), ("assign_trainer", "done"), ("enroll", "undone"),
    ]  # fmt: skip
    assert {step.at for step in steps} == {NOW}
