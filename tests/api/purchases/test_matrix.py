"""Every tier, state of the world, kind of thing and number of lines, through HTTP on one stack (rows 2, 5, 13, 80, 86, 87)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import Client

from db.engine import make_engine
from db.grants import WORKER
from tests import cluster
from tests.api.conftest import booted, end_runs, settings_for
from tests.api.purchases.matrix import PRICE, Case, cases, stock
from tests.build import rows
from tests.gateways.in_memory import FakeProvider
from tests.invariants import violations_by
from tests.roles import as_role
from worker import make_worker

Rows = dict[str, list[dict[str, Any]]]  # by case, then by line


class Stack:
    """A real database, a real Temporal server, a real worker and the API; the provider is in memory."""

    def __init__(self, engine: Engine, provider: FakeProvider, api: httpx2.AsyncClient) -> None:
        self.engine, self.provider, self.api = engine, provider, api

    async def play(self, played: list[Case]) -> Rows:
        """Stock and start them all, wait until each line has ended or waits; the rows of each case, by line."""
        payments = {f"pay-{uuid4()}": case for case in played}
        for payment, case in payments.items():
            stock(self.engine, self.provider, case, payment)
        gate = asyncio.Semaphore(8)

        async def start(payment: str) -> None:
            async with gate:
                answer = await self.api.post("/api/v1/purchases", json={"paymentId": payment})
            assert answer.status_code == 202, answer.text
            assert {line["state"] for line in answer.json()["lines"]} == {"started"}

        await asyncio.gather(*map(start, payments))
        wanted = sum(case.lines for case in played)
        while len(seen := await self._settled()) < wanted:  # noqa: ASYNC110 - it runs elsewhere
            await asyncio.sleep(0.3)
        found: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(seen, key=lambda row: row["line"]):
            found.setdefault(str(payments[row["paymentId"]]), []).append(row)
        self.payments = payments
        return found

    async def _settled(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            asked = {"limit": "500"} | ({"cursor": cursor} if cursor else {})
            page = (await self.api.get("/api/v1/admin/purchases", params=asked)).json()
            found += [row for row in page["purchases"] if row["ending"] != "running"]
            if (cursor := page["nextCursor"]) is None:
                return found

    def given_back(self) -> dict[str, list[tuple[int, int]]]:
        """Per case the lines refunded, and how much."""
        refunds = [(refund.payment_id, refund.line, refund.amount_minor) for refund in self.provider.refunds.values()]
        return {
            str(case): [(line, amount) for of, line, amount in refunds if of == payment]
            for payment, case in self.payments.items()
        }

    def carts(self) -> dict[str, set[str]]:
        """Per case what is left in the cart."""
        left = [row.id for row in rows(self.engine, "SELECT id FROM cart_items")]
        return {
            str(case): {item for item in left if item.startswith(case.named("cart"))} for case in self.payments.values()
        }


@pytest_asyncio.fixture(loop_scope="session")
async def stack(postgres: str, temporal_address: str, temporal: Client) -> AsyncIterator[Stack]:
    with cluster.database(postgres) as url:
        engine, provider = make_engine(as_role(WORKER, url), pool_size=8), FakeProvider()
        settings = settings_for(url, temporal_address, f"matrix-{uuid4()}")
        async with booted(settings, provider) as api, make_worker(temporal, settings, engine, provider):
            yield Stack(engine, provider, api)
        await end_runs(temporal, settings.task_queue)
        engine.dispose()


ALL = cases()
SLICE = [ALL[3 * (2 * n + n % 2)] for n in range(15)]  # each kind in each state, tiers and lines in turn


def differences(seen: Rows, expected: Rows) -> dict[str, dict[str, Any]]:
    """Per case and line the fields that are not as they must be: what is, what must be."""
    return {
        f"{case}, line {number}": wrong
        for case, lines in expected.items()
        for number, (row, want) in enumerate(zip(seen[case], lines, strict=True), start=1)
        if (wrong := {name: (row[name], must) for name, must in want.items() if row[name] != must})
    }


@pytest.mark.parametrize(
    "played", [SLICE, pytest.param(ALL, marks=pytest.mark.soak)], ids=["one of each", "all ninety"]
)
async def test_every_line_ends_as_the_specification_says_and_harms_no_neighbour(
    stack: Stack, played: list[Case]
) -> None:
    seen = await stack.play(played)
    expected = {str(case): [case.outcome(line) for line in case.bought] for case in played}
    assert differences(seen, expected) == {}
    refunds = {
        case: [(n, PRICE) for n, of in enumerate(lines, 1) if of["refunded"]] for case, lines in expected.items()
    }
    assert stack.given_back() == refunds
    carts = {
        str(case): {case.named(f"cart-{case.lines + 1}")}
        | {case.named(f"cart-{n}") for n, of in enumerate(expected[str(case)], 1) if of["ending"] != "completed"}
        for case in played
    }
    assert stack.carts() == carts
    held = [wrong for wrong in violations_by(stack.engine, "[]") if wrong.startswith(("I4", "I5", "I6", "I8", "I9"))]
    assert held == []


def test_the_slice_has_every_state_kind_number_of_lines_and_tier() -> None:
    assert len({str(case) for case in ALL}) == 90
    for name in ("state", "kind", "lines", "tier"):
        assert {getattr(case, name) for case in SLICE} == {getattr(case, name) for case in ALL}
