"""Deadlines over their real lengths: real workflow, real activities, real database, time skipped (mission row 57)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from domain.ids import hold_workflow_id_of
from runtime.settings import Settings
from tests import build
from tests.activities.holding import holder
from tests.build import NOW
from tests.time.conftest import Handle, Shop
from workflows.policies import HOUR, Rules
from workflows.slot_hold import HoldInput, SlotHoldWorkflow

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SELDOM = replace(Rules(), heal_pause=5 * 24 * HOUR, pending_pause=HOUR)  # the deadlines as they are, fewer looks before
ESCALATED = "SELECT count(*) FROM outbox WHERE type = 'PURCHASE_ATTENTION_ESCALATED'"
REFUNDED = "SELECT ended_at FROM purchase_starts WHERE ending = 'refused' AND refunded"


async def failed_with(run: Handle) -> str:
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause.type or ""


def within_a_minute_after(moment: datetime, ended: datetime) -> bool:
    return moment <= ended < moment + MINUTE


async def test_parked_at_a_gate_for_three_days_it_ends_and_the_money_goes_back(shop: Shop):
    _, run = await shop.buy(Rules(), classTime=None)
    await shop.passes(run, 3 * DAY + MINUTE)
    assert await failed_with(run) == "METADATA_INCOMPLETE"
    assert within_a_minute_after(NOW + 3 * DAY, shop.value(REFUNDED))
    assert shop.value("SELECT amount_minor FROM refunds WHERE status = 'succeeded'") == 50000


async def test_a_repair_step_waits_for_months_without_a_deadline(shop: Shop):
    build.run(shop.engine, "DELETE FROM trainer_courses")
    _, run = await shop.buy(SELDOM)
    await shop.passes(run, 100 * DAY)
    assert (await run.describe()).status is WorkflowExecutionStatus.RUNNING
    assert shop.value("SELECT data ->> 'code' FROM outbox WHERE type LIKE '%NEEDS%'") == "NO_TRAINER_AVAILABLE"
    assert shop.value(ESCALATED) == 1


async def test_a_repair_step_keeps_the_deadline_that_is_set(shop: Shop):
    build.run(shop.engine, "DELETE FROM trainer_courses")
    _, run = await shop.buy(replace(SELDOM, repair_deadline=30 * 24 * HOUR))
    await shop.passes(run, 30 * DAY + MINUTE)
    assert await failed_with(run) == "NO_TRAINER_AVAILABLE"
    assert within_a_minute_after(NOW + 30 * DAY, shop.value(REFUNDED))


async def test_what_has_waited_for_somebody_for_a_day_is_told_once_more(shop: Shop):
    _, run = await shop.buy(Rules(), classTime=None)
    await shop.passes(run, DAY + MINUTE)
    assert shop.value(ESCALATED) == 1
    await shop.passes(run, DAY)
    assert shop.value(ESCALATED) == 1
    told = shop.value("SELECT occurred_at FROM outbox WHERE type = 'PURCHASE_ATTENTION_ESCALATED'")
    assert within_a_minute_after(NOW + DAY, told)


async def test_a_payment_pending_for_a_day_is_given_up_and_cancelled_at_the_provider(shop: Shop):
    order, run = await shop.buy(SELDOM, status="pending")
    await shop.passes(run, DAY + MINUTE)
    assert await failed_with(run) == "PAYMENT_PENDING_TOO_LONG"
    assert shop.provider.payments[order.payment_id].status == "failed"
    assert shop.value("SELECT status FROM payments") == "failed"
    ended = shop.value("SELECT ended_at FROM purchase_starts WHERE code = 'PAYMENT_PENDING_TOO_LONG'")
    assert within_a_minute_after(NOW + DAY, ended)


async def test_a_hold_keeps_its_times_for_ten_minutes(shop: Shop, database_url: str):
    with holder(database_url, pool_size=2) as student:
        held = await asyncio.to_thread(student.hold, "student-1")
    lasts = Settings().slot_hold
    assert lasts == 10 * MINUTE
    run = await shop.client.start_workflow(
        SlotHoldWorkflow.run, HoldInput(held.id, lasts.total_seconds(), Rules()),
        id=hold_workflow_id_of(held.id), task_queue=shop.queue,
    )  # fmt: skip
    assert shop.value("SELECT count(*) FROM trainer_slots WHERE status = 'held'") == 10
    await shop.passes(run, 11 * MINUTE)
    assert await run.result() is True
    assert shop.value("SELECT count(*) FROM trainer_slots WHERE status = 'held'") == 0
    assert within_a_minute_after(NOW + lasts, shop.value("SELECT cancelled_at FROM allocations"))
