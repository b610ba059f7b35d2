"""Whatever is sent to a workflow, by whatever name and with whatever input, stops none of them (engine law 7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from domain.access import AccessLook
from domain.ids import expiry_id_of
from domain.lesson_changes import LessonChange
from domain.purchase import PurchaseOrder
from runtime.payloads import DATA_CONVERTER
from tests.temporal.anything import ANYTHING, GOOD, SINGLE, UNREADABLE, Handle, heard, of, payload, signal, update
from tests.temporal.conftest import PATIENT, QUEUE, Start
from tests.temporal.fakes import Answer, Fakes, Refuse
from tests.temporal.messages import cancelling, parked, progress
from tests.temporal.test_engine_endings import ending_of
from workflows.expiry import ExpiryInput, ExpiryWorkflow
from workflows.lesson_changes import LessonChangeWorkflow, LessonSweepWorkflow
from workflows.purchase import PurchaseWorkflow
from workflows.slot_hold import HoldInput, SlotHoldWorkflow

UPDATES = [
    "retry_now", "amend", "skip_step", "assign_trainer", "approve_allocation", "create_sessions", "cancel",
]  # fmt: skip
NO_ACT: dict[str, list[Payload]] = {
    **SINGLE,
    "no input": [],
    "several": [GOOD, GOOD],
    "several, one of them unreadable": [GOOD, UNREADABLE["no JSON"]],
    "no values": [of({})],
    "numbers for texts": [of({"actor": 1, "reason": 2, "request_key": 3})],
    "NUL": [of({"actor": "ann\0", "reason": "why", "request_key": "k"})],
    "half a character": [payload(b'{"actor": "ann", "reason": "\\ud800", "request_key": "k"}')],
    "a key as long as a book": [of({"actor": "ann", "reason": "why", "request_key": "k" * 10_000})],
}


async def test_the_signal_for_lessons_takes_what_may_come_and_notes_what_it_cannot_use(
    temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_sessions", *[Refuse("SESSIONS_FAILED")] * (len(ANYTHING) + 5))
    handle = await start(order, PATIENT)
    await parked(handle)
    bad_signature = of({"actor": "ann\0", "reason": "\ud800", "request_key": "k" * 10_000})
    for payloads in [*ANYTHING.values(), [bad_signature]]:
        await signal(temporal, handle, "create_sessions_manually", payloads)
    await heard(handle, len(ANYTHING) + 1)
    notes = (await progress(handle)).notes
    ignored = [
        note for note in notes if note.startswith("signal create_sessions_manually ignored: its input is no object")
    ]
    taken = ("no input", "null", "nothing", "several")
    assert len(ignored) == len(ANYTHING) - len(taken)
    assert "signal create_sessions_manually: of several inputs the first object counts" in notes
    assert [note for note in notes if "actor holds a character" in note and "request_key is longer" in note]
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))
    await ending_of(handle)  # by then all acts are on record
    done = [act for act in fakes.acts(order) if act[1] == "create_sessions"]
    assert len(done) == len(taken)
    assert "k" in {key for key, *_ in done}
    await replays(handle)


@pytest.mark.parametrize("said", [b'"a\\u0000b"', b'"a\\ud800b"'], ids=["NUL", "half a character"])
async def test_a_waking_is_put_on_record_whatever_it_says(
    said: bytes, temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
    handle = await start(order, PATIENT)
    await parked(handle)
    await signal(temporal, handle, "wake", [payload(said)])
    assert await handle.result() == "completed"
    assert [act.reason for act in fakes.records[order.purchase_id]] == ["a\ufffdb"]
    await replays(handle)


async def test_the_signal_to_look_again_needs_no_input_and_takes_any(
    temporal: Client, order: PurchaseOrder, fakes: Fakes, engine_worker: Worker
) -> None:
    expiry = await waiting_expiry(temporal, order, fakes)
    for sent, payloads in enumerate(ANYTHING.values(), start=1):
        await signal(temporal, expiry, "look_again", payloads)
        await heard(expiry, sent)
    assert fakes.calls[order.purchase_id].count("end_access") > 1
    await ends(temporal, expiry, fakes, order)


@pytest.mark.parametrize("name", UPDATES)
async def test_an_update_that_is_no_act_is_refused_and_leaves_nothing_in_the_history(
    name: str, temporal: Client, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    fakes.plan(order, "create_sessions", Refuse("SESSIONS_FAILED"))
    handle = await start(order, PATIENT)
    await parked(handle)
    for what, payloads in NO_ACT.items():
        assert (await update(temporal, handle, name, payloads)).message, what
    await no_trace(handle)
    await handle.execute_update(PurchaseWorkflow.cancel, cancelling("end"))


async def test_an_extension_that_is_none_is_refused_and_leaves_nothing_in_the_history(
    temporal: Client, order: PurchaseOrder, fakes: Fakes, engine_worker: Worker
) -> None:
    expiry = await waiting_expiry(temporal, order, fakes)
    asked = {"actor": "ann", "reason": "why", "request_key": "k"}
    days = ["9999-12-31", "0001-01-01", "2300-01-01", "2027-1-1", "2027-W01-1", "2027-01-01\0", "\ud800", "", None, 7]
    for what, payloads in {**NO_ACT, **{ascii(day): [of({**asked, "expiry_date": day})] for day in days}}.items():
        assert (await update(temporal, expiry, "extend", payloads)).message, what
    await no_trace(expiry)
    await ends(temporal, expiry, fakes, order)


# -- names nobody knows, at every workflow there is -------------------------------------------------------------------


@activity.defn(name="change_lessons")
async def change_lessons(change: LessonChange) -> str:
    raise ConnectionError("planned: so that it goes on running")


@activity.defn(name="find_stranded_lessons")
async def find_stranded_lessons(after: str) -> list[str]:
    raise ConnectionError("planned: so that it goes on running")


@pytest_asyncio.fixture(loop_scope="session")
async def queue(temporal: Client, fakes: Fakes) -> AsyncIterator[str]:
    name = f"any-{uuid4()}"
    async with Worker(
        temporal,
        task_queue=name,
        workflows=WORKFLOWS,
        activities=[*fakes.activities(), change_lessons, find_stranded_lessons],
        graceful_shutdown_timeout=timedelta(seconds=1),
    ):
        yield name


WORKFLOWS = [PurchaseWorkflow, ExpiryWorkflow, SlotHoldWorkflow, LessonChangeWorkflow, LessonSweepWorkflow]
STARTS: dict[str, tuple[Any, Any]] = {
    "hold": (SlotHoldWorkflow.run, HoldInput("hold-1", 600.0, PATIENT)),
    "change": (LessonChangeWorkflow.run, LessonChange("p-1", "k", "transfer_lessons", "ann", "why", {})),
    "sweep": (LessonSweepWorkflow.run, ""),
}


@pytest.mark.parametrize("which", ["purchase", "expiry", *STARTS])
async def test_a_message_of_a_name_nobody_knows_does_no_harm(
    which: str, temporal: Client, queue: str, order: PurchaseOrder, start: Start, fakes: Fakes
) -> None:
    handle: Handle
    if which == "purchase":
        fakes.plan(order, "assign_trainer", Refuse("NO_TRAINER_AVAILABLE"))
        handle = await start(order, PATIENT)
        await parked(handle)
    elif which == "expiry":
        handle = await waiting_expiry(temporal, order, fakes)
    else:
        run, argument = STARTS[which]
        handle = await temporal.start_workflow(run, argument, id=f"{which}-{uuid4()}", task_queue=queue)
    for payloads in ANYTHING.values():
        await signal(temporal, handle, "make_coffee", payloads)
        assert "make_coffee" in (await update(temporal, handle, "make_coffee", payloads)).message
    await no_trace(handle, await heard(handle, len(ANYTHING)))
    assert (await handle.describe()).status.name == "RUNNING"  # type: ignore[union-attr]
    await handle.terminate("the test is over")
    await replays(handle)


async def waiting_expiry(temporal: Client, order: PurchaseOrder, fakes: Fakes) -> Handle:
    fakes.plan(order, "end_access", *[Answer(AccessLook("waits", 600.0, "2027-06-30"))] * (3 * len(ANYTHING)))
    return await temporal.start_workflow(
        ExpiryWorkflow.run, ExpiryInput(order, PATIENT), id=expiry_id_of(order.purchase_id), task_queue=QUEUE
    )


async def ends(temporal: Client, expiry: Handle, fakes: Fakes, order: PurchaseOrder) -> None:
    """It still does what it is for."""
    fakes.plans[order.purchase_id, "end_access"].clear()
    await signal(temporal, expiry, "look_again", [])
    assert await expiry.result() == "over"
    await replays(expiry)


async def no_trace(handle: Handle, events: list[str] | None = None) -> None:
    """No update was admitted, accepted or completed."""
    history = events or [event.WhichOneof("attributes") or "" for event in (await handle.fetch_history()).events]
    assert not [name for name in history if "execution_update" in name.lower()]


async def replays(handle: Handle) -> None:
    """A worker without a cache comes to the same."""
    replayer = Replayer(workflows=WORKFLOWS, data_converter=DATA_CONVERTER)
    await replayer.replay_workflow(await handle.fetch_history())
