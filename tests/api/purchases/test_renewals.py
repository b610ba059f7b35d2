"""A course bought again, over HTTP: what is carried over, what comes back, and who keeps access (rows 61, 62, 71, C4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from tests.api.conftest import begin, fresh, shown, until
from tests.api.operators.test_verbs import act
from tests.build import LESSONS, NOW, pay, trainer
from tests.gateways.in_memory import FakeProvider

pytestmark = pytest.mark.usefixtures("worker")


async def again(api: httpx2.AsyncClient, engine: Engine, provider: FakeProvider, after: timedelta, **said: Any) -> str:
    """The same course paid for again, so much later; its workflow id."""
    metadata = {**LESSONS, "classTime": "09:00", **said}
    return await begin(api, pay(engine, provider, fresh(), created_at=NOW + after, metadata=metadata))


async def story(api: httpx2.AsyncClient, *purchases: str) -> list[tuple[str, int, bool]]:
    """Status, lessons still to come, access: of each."""
    seen = [await shown(api, purchase) for purchase in purchases]
    return [(each["item"]["status"], each["remaining"], each["access"]["enrolled"]) for each in seen]


async def test_a_suspected_double_kept_as_a_renewal_carries_the_lessons_over(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, paid: str
) -> None:
    trainer(engine)
    old = await begin(api, paid)
    await until(api, old, "completed")
    new = await again(api, engine, fake_provider, timedelta(minutes=1))
    assert (await until(api, new, "attention"))["attention"]["reason"] == "DUPLICATE_PAYMENT_SUSPECTED"
    assert [name for name, *_ in await story(api, old)] == ["active"]
    assert (await act(api, new, "amend", changes={"treatAs": "renewal"})).status_code == 200
    seen = await until(api, new, "completed")
    assert await story(api, old, new) == [("superseded", 10, True), ("active", 20, True)]
    assert [(each["workflowId"], each["supersededBy"]) for each in seen["renewals"]] == [(old, seen["id"]), (new, None)]
    listed = (await api.get("/api/v1/admin/purchases", params={"student": "student-1"})).json()["purchases"]
    assert {row["workflowId"]: row["remaining"] for row in listed} == {old: 10, new: 20}


@pytest.mark.parametrize("step", ["create_purchase", "assign_trainer"], ids=["suspected", "without a trainer"])
async def test_a_cancelled_renewal_leaves_the_student_with_what_they_had(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, paid: str, step: str
) -> None:
    trainer(engine, hours=("17:00", "20:00"))  # nobody teaches at nine
    old = await begin(api, paid)
    await until(api, old, "completed")
    before = await story(api, old)
    new = await again(api, engine, fake_provider, timedelta(minutes=1 if step == "create_purchase" else 60))
    assert (await until(api, new, "attention"))["stage"] == step
    assert (await act(api, new, "cancel")).status_code == 200
    await until(api, new, "cancelled")
    assert await story(api, old) == before == [("active", 10, True)]
    assert [refund.payment_id for refund in fake_provider.refunds.values()] == [new.split(":")[1]]
