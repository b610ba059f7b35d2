"""The end of access as a workflow of its own, on a real server and a real database (mission rows 57, C16; I6).

There is no server here that skips time: the activities' clock is set, and the timer's last second passes for real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.error_mapping import Boundary
from domain.access import AccessLook
from domain.ids import expiry_id_of
from domain.purchase import PurchaseCreated, PurchaseOrder
from runtime.settings import Settings
from tests import build, subjects
from tests.build import LESSONS, NOW
from tests.gateways.in_memory import FakeProvider
from tests.temporal.conftest import FAST, PATIENT, QUEUE, Start
from tests.temporal.fakes import Answer, Fakes, Hold, Refuse
from tests.temporal.messages import cancel, parked
from tests.temporal.test_engine_endings import HAPPY, ending_of
from tests.waiting import eventually
from worker import activities_of
from workflows.attributes import STUDENT_ID
from workflows.expiry import ExpiryInput, ExpiryWorkflow
from workflows.messages import Extend
from workflows.purchase import PurchaseInput, PurchaseWorkflow

EXPIRES = Answer(PurchaseCreated("sessions", "course-piano", expires=True))
FAR = Answer(AccessLook("waits", 1e9, "2099-12-31"))
Expiry = WorkflowHandle[ExpiryWorkflow, str]


def expiry_of(client: Client, order: PurchaseOrder) -> Expiry:
    return client.get_workflow_handle_for(ExpiryWorkflow.run, expiry_id_of(order.purchase_id))


def longer(until: str, key: str = "k1") -> Extend:
    return Extend("ann", "was ill", key, until)


async def status_of(handle: WorkflowHandle[Any, Any]) -> str:
    status = (await handle.describe()).status
    return status.name if status else "UNKNOWN"


async def happened(handle: Expiry, event: str, times: int = 1) -> None:
    """Wait until its history has so many of these; the test's timeout bounds it."""

    def so(history: WorkflowHistory) -> bool:
        found = [each.HasField(f"{event}_event_attributes") for each in history.events]  # type: ignore[arg-type]
        return sum(found) >= times

    await eventually(handle.fetch_history, so)


async def asleep(handle: Expiry) -> None:
    await happened(handle, "timer_started")


# -- beside the purchase ----------------------------------------------------------------------------------------


async def test_starts_beside_a_purchase_whose_access_ends_and_outlives_it(
    temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_purchase", EXPIRES)
    fakes.plan(order, "end_access", FAR)
    assert await (await start(order)).result() == "completed"
    assert [name for name in fakes.did(order) if name != "end_access"] == [n for n in HAPPY if n != "redeem_coins"]
    expiry = expiry_of(temporal, order)
    await asleep(expiry)
    assert await status_of(expiry) == "RUNNING"
    assert (await expiry.describe()).typed_search_attributes.get(STUDENT_ID) == order.student_id
    await expiry.terminate("the test is over")


async def test_a_purchase_whose_access_does_not_end_starts_none(
    temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    assert await (await start(order)).result() == "completed"
    history = await temporal.get_workflow_handle(order.workflow_id).fetch_history()
    assert not [e for e in history.events if "child" in str(e.WhichOneof("attributes"))]


async def test_one_that_is_there_already_stays_the_only_one(
    temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "end_access", FAR)
    first = await temporal.start_workflow(
        ExpiryWorkflow.run, ExpiryInput(order, FAST), id=expiry_id_of(order.purchase_id), task_queue=QUEUE
    )
    await asleep(first)
    fakes.plan(order, "create_purchase", EXPIRES)
    assert await (await start(order)).result() == "completed"
    assert (await expiry_of(temporal, order).describe()).run_id == first.first_execution_run_id
    assert fakes.calls[order.purchase_id].count("end_access") == 1
    await first.terminate("the test is over")


@pytest.mark.parametrize("how", ["operator", "client"])
async def test_a_cancelled_purchase_is_undone_although_its_end_of_access_still_waits(
    temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes, how: str
) -> None:
    fakes.plan(order, "create_purchase", EXPIRES)
    fakes.plan(order, "end_access", FAR)
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    await cancel(handle, how)
    assert await ending_of(handle) in ("CANCELLED", "Canceled")
    expiry = expiry_of(temporal, order)
    assert await status_of(expiry) == "RUNNING"
    await expiry.signal(ExpiryWorkflow.look_again)  # what it would find by itself: the purchase was taken back
    assert await expiry.result() == "over"


async def test_an_extension_under_way_is_answered_before_it_ends(
    temporal: Client, order: PurchaseOrder, fakes: Fakes, engine_worker: Worker
) -> None:
    hold = Hold()
    fakes.plan(order, "end_access", hold, Answer(AccessLook("ended", last_day="2027-06-30")))
    expiry = await temporal.start_workflow(
        ExpiryWorkflow.run, ExpiryInput(order, FAST), id=expiry_id_of(order.purchase_id), task_queue=QUEUE
    )
    await hold.entered.wait()
    asked = [
        asyncio.create_task(expiry.execute_update(ExpiryWorkflow.extend, longer("2027-12-31", f"k{n}")))
        for n in range(3)
    ]
    await happened(expiry, "workflow_execution_update_accepted", 3)
    hold.release.set()
    assert await asyncio.gather(*asked) == ["access lasts until 2027-12-31"] * 3
    assert await expiry.result() == "over"
    assert fakes.calls[order.purchase_id].count("extend_access") == 3


# -- with everything real ---------------------------------------------------------------------------------------


class Clock:
    """The activities' time: set, then running."""

    def __init__(self) -> None:
        self.set(NOW)

    def set(self, moment: datetime) -> None:
        self._from, self._since = moment, time.monotonic()

    def __call__(self) -> datetime:
        return self._from + timedelta(seconds=time.monotonic() - self._since)


class Shop:
    """Ten daily lessons from 1 December on, bought by a student in London, on a queue with a real worker."""

    def __init__(self, engine: Engine, provider: FakeProvider, client: Client, queue: str, clock: Clock) -> None:
        self.engine, self.provider, self.client, self.queue, self.clock = engine, provider, client, queue, clock
        build.student(engine)
        build.item(engine)
        build.trainer(engine)

    async def buy(self, item: tuple[str, str] = ("course", "course-piano"), **metadata: Any) -> PurchaseOrder:
        payment = build.pay(
            self.engine, self.provider, f"pay-{uuid4()}", items=(item,), metadata={**LESSONS, **metadata},
            created_at=self.clock(),
        )  # fmt: skip
        order = build.start(self.engine, payment)
        run = await self.client.start_workflow(
            PurchaseWorkflow.run, PurchaseInput(order, FAST), id=order.workflow_id, task_queue=self.queue
        )
        assert await run.result() == "completed"
        return order

    async def extend(self, order: PurchaseOrder, until: str, key: str = "k1") -> str:
        """As the API does it: starts what is to be extended if it does not run."""
        begin = WithStartWorkflowOperation(
            ExpiryWorkflow.run, ExpiryInput(order, FAST), id=expiry_id_of(order.purchase_id), task_queue=self.queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )  # fmt: skip
        return await self.client.execute_update_with_start_workflow(
            ExpiryWorkflow.extend, longer(until, key), start_workflow_operation=begin
        )

    def access(self) -> list[tuple[Any, ...]]:
        query = "SELECT expires_on::text, ended_at IS NULL, expired FROM enrollments ORDER BY enrolled_at"
        return [tuple(row) for row in build.rows(self.engine, query)]

    def events(self) -> list[str]:
        return build.rows(self.engine, "SELECT array_agg(type ORDER BY id) FROM outbox")[0][0]


@pytest_asyncio.fixture(loop_scope="session")
async def shop(engine: Engine, fake_provider: FakeProvider, temporal: Client) -> AsyncIterator[Shop]:
    queue, clock = f"expiry-{uuid4()}", Clock()
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[PurchaseWorkflow, ExpiryWorkflow],
        activities=activities_of(engine, fake_provider, clock, auto_approve=True, keep_for=Settings().keep_for),
        activity_executor=ThreadPoolExecutor(4),
        interceptors=[Boundary()],
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield Shop(engine, fake_provider, temporal, queue, clock)
        async for run in temporal.list_workflows(f"TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"):
            with suppress(RPCError):  # it may have ended: what is listed is a moment old
                await temporal.get_workflow_handle(run.id).terminate("the test is over")


MIDNIGHT = datetime(2026, 12, 6, tzinfo=UTC)  # after the last day, 5 December, in London


async def test_access_ends_by_the_timer_in_the_middle_of_the_lessons_which_stay(shop: Shop) -> None:
    order = await shop.buy(expiryDate="2026-12-05")
    expiry = expiry_of(shop.client, order)
    await asleep(expiry)
    assert shop.access() == [("2026-12-05", True, False)]
    shop.clock.set(MIDNIGHT - timedelta(seconds=1))
    await expiry.signal(ExpiryWorkflow.look_again)
    assert await expiry.result() == "ended"
    assert shop.clock() >= MIDNIGHT
    assert shop.access() == [("2026-12-05", False, True)]
    assert shop.events() == ["PURCHASE_CREATED", "PURCHASE_COMPLETED", "PURCHASE_EXPIRED"]
    statuses = build.rows(shop.engine, "SELECT status, count(*) FROM sessions GROUP BY 1")
    assert [tuple(row) for row in statuses] == [("scheduled", 10)]
    assert build.value(shop.engine, "SELECT status FROM student_course_purchases") == "active"


async def test_an_extension_before_the_end_moves_the_timer_and_one_after_it_gives_access_again(shop: Shop) -> None:
    order = await shop.buy(expiryDate="2026-12-05")
    await asleep(expiry_of(shop.client, order))
    assert await shop.extend(order, "2026-12-08") == "access lasts until 2026-12-08"
    assert await status_of(expiry_of(shop.client, order)) == "RUNNING"
    shop.clock.set(MIDNIGHT + timedelta(days=4))
    await expiry_of(shop.client, order).signal(ExpiryWorkflow.look_again)
    assert await expiry_of(shop.client, order).result() == "ended"
    assert shop.access() == [("2026-12-08", False, True)]
    assert await shop.extend(order, "2027-01-31", "k2") == "access lasts until 2027-01-31"
    assert shop.access() == [("2027-01-31", True, False)]
    assert await status_of(expiry_of(shop.client, order)) == "RUNNING"
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await shop.extend(order, "2029-01-31", "k2")  # the same key
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "KEY_REUSED"
    assert (await shop.extend(order, "2029-01-31", "k1")).startswith("refused: KEY_REUSED"), "a run before knew it"
    assert await shop.extend(order, "2027-01-31", "k2") == "access lasts until 2027-01-31"
    assert await shop.extend(order, "2027-01-01", "k3") == (
        "refused: WRONG_STAGE: access lasts until 2027-01-31 already"
    )
    assert build.value(shop.engine, "SELECT count(*) FROM operator_acts WHERE verb = 'extend'") == 3


async def test_of_a_bundle_each_subject_ends_and_the_cards_stay(shop: Shop) -> None:
    item = ("bundle", subjects.bundle(shop.engine, "sciences", ["biology", "physics"]))
    order = await shop.buy(item, expiryDate="2026-12-05")
    await asleep(expiry_of(shop.client, order))
    shop.clock.set(MIDNIGHT)
    await expiry_of(shop.client, order).signal(ExpiryWorkflow.look_again)
    assert await expiry_of(shop.client, order).result() == "ended"
    assert shop.access() == [("2026-12-05", False, True)] * 2
    assert build.value(shop.engine, subjects.CARDS) == 100
    assert shop.events().count("PURCHASE_EXPIRED") == 1
    await shop.extend(order, "2026-12-31")
    assert shop.access() == [("2026-12-31", True, False)] * 2
