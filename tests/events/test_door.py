"""The event door (mission rows 20, 22, 23, 26): once per key, rows with the event, typed refusals, nothing half stored."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from sqlalchemy import Engine
from temporalio.client import Client

from application.context import Services
from application.errors import NotFound, Unavailable, Unprocessable
from application.event_schema import LARGEST
from application.incoming_events import ingest
from application.wiring import open_services
from db.grants import CONSUMER
from runtime.settings import Settings
from tests.api.conftest import NOBODY, booted, fresh, is_problem, settings_for, until
from tests.build import item, pay, rows, run, start, student, trainer, value
from tests.events.told import POISON, WANTED, event, raw
from tests.gateways.in_memory import FakeProvider

EVENTS = "/api/v1/events"


def stored(engine: Engine) -> list[int]:
    """How many events and starts there are."""
    return [value(engine, f"SELECT count(*) FROM {table}") for table in ("taken_events", "purchase_starts")]  # noqa: S608


async def test_an_event_starts_every_line_and_says_where_it_came_from(at: Services, engine: Engine, paid: str) -> None:
    taken = await ingest(at, raw(event(paid, amount=500)))
    assert (taken.duplicate, [line.state for line in taken.lines]) == (False, ["started"])
    [start] = rows(engine, "SELECT workflow_id, origin, event_metadata FROM purchase_starts")
    assert start == (f"purchase:{paid}:1", "event", WANTED)
    [kept] = rows(engine, "SELECT key, payment_id, handled_at IS NOT NULL, data -> 'status' FROM taken_events")
    assert kept == (f"payment:{paid}:PURCHASE_CONFIRMED", paid, True, "succeeded")


@pytest.mark.parametrize("status", [{}, {"status": None}], ids=["left out", "null"])
async def test_the_type_says_that_it_succeeded_so_no_status_need(
    at: Services, engine: Engine, paid: str, status: dict[str, None]
) -> None:
    said = event(paid)
    del said["data"]["status"]
    said["data"].update(status)
    taken = await ingest(at, raw(said))
    assert [line.state for line in taken.lines] == ["started"]
    assert value(engine, "SELECT data ->> 'status' FROM taken_events") is None


async def test_ten_duplicates_at_once_are_one_workflow(
    at: Services, engine: Engine, paid: str, temporal: Client
) -> None:
    taken = await asyncio.gather(*(ingest(at, raw({**event(paid), "id": f"again-{n}"})) for n in range(10)))
    assert sorted(each.duplicate for each in taken) == [False] + [True] * 9
    assert stored(engine) == [1, 1]
    assert (await temporal.count_workflows(f"PaymentId = '{paid}'")).count == 1
    assert (await ingest(at, raw(event(paid)))).duplicate
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = now()")
    assert (await ingest(at, raw(event(paid)))).lines == [], "what has ended is answered without asking Temporal"


async def test_a_redelivery_starts_again_what_was_terminated_by_hand(
    at: Services, engine: Engine, paid: str, temporal: Client
) -> None:
    await ingest(at, raw(event(paid)))
    await temporal.get_workflow_handle(f"purchase:{paid}:1").terminate("by hand")
    again = await ingest(at, raw(event(paid)))
    assert (again.duplicate, [line.state for line in again.lines]) == (False, ["started"])
    assert (await ingest(at, raw(event(paid)))).duplicate


async def test_a_line_that_took_no_money_starts_again_by_its_event(at: Services, engine: Engine, paid: str) -> None:
    start(engine, paid)
    run(engine, "UPDATE purchase_starts SET ending = 'refused', code = 'PAYMENT_NOT_SUCCEEDED', ended_at = now()")
    taken = await ingest(at, raw(event(paid)))
    assert [line.state for line in taken.lines] == ["started"]
    assert rows(engine, "SELECT attempt, ending FROM purchase_starts") == [(2, None)]


async def test_every_bad_event_is_refused_for_its_reason_and_nothing_is_stored(
    at: Services, engine: Engine, paid: str
) -> None:
    for kind, (code, made) in POISON.items():
        with pytest.raises((Unprocessable, NotFound)) as refused:
            await ingest(at, made(paid))
        assert (kind, refused.value.code) == (kind, code)
        assert refused.value.detail
    assert stored(engine) == [0, 0]


async def test_what_is_refused_before_the_true_event_is_refused_after_it(
    at: Services, engine: Engine, paid: str
) -> None:
    await ingest(at, raw(event(paid)))
    for kind, (code, made) in POISON.items():
        with pytest.raises((Unprocessable, NotFound)) as refused:
            await ingest(at, made(paid))
        assert (kind, refused.value.code) == (kind, code)


def test_thirty_kinds_of_poison() -> None:
    assert len(POISON) >= 30


async def test_the_largest_event_is_taken_and_one_byte_more_is_not(at: Services, paid: str) -> None:
    frame = len(raw(event(paid, metadata={"note": ""})))
    largest = raw(event(paid, metadata={"note": "a" * (LARGEST - frame)}))
    assert len(largest) == LARGEST
    with pytest.raises(Unprocessable):
        await ingest(at, largest + b" ")
    assert not (await ingest(at, largest)).duplicate


async def test_what_senders_add_is_ignored(at: Services, paid: str) -> None:
    said = event(paid, amountMinor=50000, lines=[]) | {"source": "payments", "version": 2}
    assert not (await ingest(at, raw(said))).duplicate


async def test_a_payment_without_lines_is_not_found(at: Services, engine: Engine) -> None:
    student(engine)
    with pytest.raises(NotFound):
        await ingest(at, raw(event(pay(engine, None, fresh(), items=()))))


async def test_an_event_of_several_lines_tells_only_the_line_it_names(at: Services, engine: Engine) -> None:
    student(engine)
    for name in ("course-piano", "course-chess"):
        item(engine, name)
    payment = pay(engine, None, fresh(), items=(("course", "course-piano"), ("course", "course-chess")))
    await ingest(at, raw(event(payment, metadata={**WANTED, "courseId": "course-chess"})))
    told = dict(tuple(row) for row in rows(engine, "SELECT line, event_metadata ->> 'startDate' FROM purchase_starts"))
    assert told == {1: None, 2: WANTED["startDate"]}


async def test_what_the_event_knows_reaches_a_purchase_another_door_started(
    api: httpx2.AsyncClient, at: Services, engine: Engine, paid: str
) -> None:
    assert (await api.post("/api/v1/purchases", json={"paymentId": paid})).status_code == 202
    assert (await ingest(at, raw(event(paid)))).duplicate
    assert rows(engine, "SELECT origin, event_metadata FROM purchase_starts") == [("checkout", WANTED)]


async def test_the_row_of_a_payment_follows_the_provider(
    consuming: Settings, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    payment = pay(engine, fake_provider, fresh())
    run(engine, "UPDATE payments SET status = 'pending'")
    async with open_services(consuming, fake_provider) as at:
        await ingest(at, raw(event(payment)))
    assert value(engine, "SELECT status FROM payments") == "succeeded"


async def test_a_door_that_died_before_the_start_is_gone_on_with(
    database_url: str, task_queue: str, at: Services, engine: Engine, paid: str
) -> None:
    async with open_services(settings_for(database_url, NOBODY, task_queue, CONSUMER)) as lost:
        with pytest.raises(Unavailable):
            await ingest(lost, raw(event(paid)))
    assert stored(engine) == [1, 1]
    assert value(engine, "SELECT handled_at FROM taken_events") is None
    assert not (await ingest(at, raw(event(paid)))).duplicate
    assert stored(engine) == [1, 1]
    assert value(engine, "SELECT handled_at IS NOT NULL FROM taken_events")


async def test_event_and_start_are_stored_together_or_not_at_all(at: Services, engine: Engine, paid: str) -> None:
    run(engine, "ALTER TABLE purchase_starts ADD CONSTRAINT broken CHECK (origin <> 'event')")
    with pytest.raises(Exception, match="broken"):
        await ingest(at, raw(event(paid)))
    assert stored(engine) == [0, 0]


@pytest.mark.usefixtures("worker")
async def test_payment_metadata_goes_before_event_metadata(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine, fulfilment="ownership")
    ours = {"startDate": "2026-12-05", "scheduleType": None, "purchaseTier": 20}
    payment = pay(engine, fake_provider, fresh(), metadata=ours)
    theirs = {**WANTED, "scheduleType": "daily", "colour": "blue"}
    assert (await api.post(EVENTS, json=event(payment, metadata=theirs))).status_code == 202
    bought = (await until(api, f"purchase:{payment}:1", "completed"))["item"]
    said = {"startDate": "2026-12-05", "timeSlot": "18:00", "scheduleType": "daily", "purchaseTier": 20}
    assert {name: bought["metadata"][name] for name in said} == said
    assert bought["metadataSources"]["startDate"] == "payment"
    assert bought["metadataSources"]["timeSlot"] == "event"


@pytest.mark.usefixtures("worker")
async def test_unreadable_payment_metadata_is_replaced_by_the_events_on_this_door_only(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Mission row 23."""
    student(engine)
    student(engine, "student-2")
    item(engine)
    trainer(engine)
    by_event = pay(engine, fake_provider, fresh())
    by_checkout = pay(engine, fake_provider, fresh(), student_id="student-2")
    run(engine, "UPDATE payment_lines SET metadata = to_jsonb(metadata::text)")
    assert (await api.post(EVENTS, json=event(by_event))).status_code == 202
    assert (await api.post("/api/v1/purchases", json={"paymentId": by_checkout})).status_code == 202
    bought = (await until(api, f"purchase:{by_event}:1", "completed"))["item"]
    assert set(bought["metadataSources"].values()) == {"event"}
    assert any("could not be read" in warning for warning in bought["warnings"])
    settled = value(engine, "SELECT result FROM purchase_steps WHERE step = 'confirm_payment'")
    assert settled["metadataSource"] == "event"
    waits = await until(api, f"purchase:{by_checkout}:1", "attention")
    assert (waits["code"], waits["item"]) == ("STEP_TROUBLE", None)


async def test_over_http_a_duplicate_is_200_and_a_refusal_is_a_problem(
    api: httpx2.AsyncClient, engine: Engine, paid: str
) -> None:
    first = await api.post(EVENTS, json=event(paid))
    assert (first.status_code, first.json()["lines"][0]["workflowId"]) == (202, f"purchase:{paid}:1")
    again = await api.post(EVENTS, json=event(paid))
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    is_problem(await api.post(EVENTS, json=event(f"{paid}-x")), 404, "PAYMENT_NOT_FOUND")
    is_problem(await api.post(EVENTS, json=event(paid) | {"key": "k"}), 422, "EVENT_KEY_MISMATCH")
    assert value(engine, "SELECT count(*) FROM dead_letters") == 0, "who is answered keeps what is refused"


async def test_over_http_no_poison_is_more_than_a_4xx(api: httpx2.AsyncClient, paid: str) -> None:
    for _, made in POISON.values():
        answer = await api.post(EVENTS, content=made(paid), headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, answer.text
        is_problem(answer, answer.status_code, answer.json()["code"])


async def test_without_temporal_it_is_503_and_asked_again_it_goes_on(
    database_url: str, task_queue: str, api: httpx2.AsyncClient, paid: str
) -> None:
    async with booted(settings_for(database_url, NOBODY, task_queue)) as lost:
        is_problem(await lost.post(EVENTS, json=event(paid)), 503, "TEMPORAL_UNAVAILABLE")
    assert (await api.post(EVENTS, json=event(paid))).status_code == 202
