"""The state of purchases without an ending: what lists and figures say of them, and whether they take an act.

The record says that a purchase goes on; only Temporal knows whether its run does. A run that visibility does not show
as open is asked for by its id before that is believed, and the record is read once more after that: a run writes its
ending first, then it closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from temporalio.client import Client

from application.context import Services
from application.errors import Conflict, Unavailable
from application.run_states import RunState, forgotten
from application.stages import placed
from application.temporal_client import (
    Condition,
    equals,
    parked_runs,
    run_state,
    run_states,
    running_runs,
    workers_poll,
)
from db.reads.starts import StartRow, open_starts, starts_of
from domain.refusals import REFUSALS
from domain.runs import BY_HAND, Helps
from workflows.attributes import ATTENTION_REASON, NEEDS_ATTENTION

_MAX_CONCURRENCY = 16  # questions by id in flight
_STARTING = timedelta(minutes=1)  # a door has committed the row and is about to start the run
_NEEDY = f"({NEEDS_ATTENTION.name} = true OR ExecutionStatus = 'Paused')"


class Started(Protocol):
    """A row of a purchase that was started."""

    @property
    def purchase_id(self) -> str: ...
    @property
    def workflow_id(self) -> str: ...
    @property
    def started_at(self) -> datetime: ...


async def standing(services: Services, rows: Sequence[Started]) -> tuple[dict[str, RunState], dict[str, StartRow]]:
    """Return how rows without an ending stand, by workflow id, and which have ended meanwhile, by purchase id."""
    states = await run_states(services.temporal, [row.workflow_id for row in rows])
    doubtful = [row for row in rows if row.workflow_id not in states or not states[row.workflow_id].kind.open]
    gate = asyncio.Semaphore(_MAX_CONCURRENCY)

    async def ask(row: Started) -> tuple[str, RunState | None]:
        async with gate:
            return row.workflow_id, await run_state(services.temporal, row.workflow_id) or lost(row)

    states |= {name: state for name, state in await asyncio.gather(*map(ask, doubtful)) if state}
    states = await placed(services, states)
    async with services.reading() as conn:
        now = await starts_of(conn, [row.purchase_id for row in doubtful])
    return states, {row.purchase_id: row for row in now.values() if row.ending}


def lost(row: Started) -> RunState | None:
    """Return the state of a purchase without a run in Temporal; None in its first minute, as a door is starting it."""
    return forgotten(row.workflow_id) if datetime.now(UTC) - row.started_at > _STARTING else None


async def needing_somebody(
    services: Services,
    *conditions: Condition,
    reasons: Collection[str] = (),
    student: str | None = None,
    payment: str | None = None,
    stage: str | None = None,
) -> dict[str, RunState]:
    """Return the purchases that wait for somebody, by workflow id: parked, paused, or with no ending and no open run.

    `reasons`: only those that wait for all of these; a paused one still counts as waiting for what it was parked for.
    """
    if reasons and not BY_HAND.intersection(reasons):
        return await parked_runs(
            services.temporal, *conditions, *(equals(ATTENTION_REASON, reason) for reason in reasons)
        )
    found = await running_runs(services.temporal, *conditions, where=_NEEDY)
    async with services.reading() as conn:
        others = await open_starts(conn, but_not=found, student=student, payment=payment)
    states, ended = await standing(services, others)
    rest = [states[row.workflow_id] for row in others if row.purchase_id not in ended and row.workflow_id in states]
    found = await placed(services, found | {state.workflow_id: state for state in rest if state.attention})
    return {
        name: state for name, state in found.items()
        if stage in (None, state.stage)
        if not reasons or (state.attention and all(state.attention.reason == reason for reason in reasons))
    }  # fmt: skip


async def require_unpaused(client: Client, workflow_id: str) -> None:
    """Raise Conflict (PAUSED_BY_HAND) at once for a paused run, which would keep an act waiting."""
    run = await run_state(client, workflow_id)
    if run and run.kind.helps is Helps.UNPAUSE:
        raise Conflict(
            code="PAUSED_BY_HAND",
            detail=f"{REFUSALS['PAUSED_BY_HAND'].operator} Unpause it first: "
            f"`temporal workflow unpause --workflow-id {workflow_id}`, or Unpause in Temporal UI.",
        )


def start_again(start: StartRow) -> Conflict:
    """Return the Conflict for an act on a purchase that has neither an ending nor a run that takes it."""
    payment = f'POST its payment ({{"paymentId": "{start.payment_id}"}}), or' if start.payment_id else "POST"
    return Conflict(
        code="WRONG_STAGE",
        detail="This purchase has no running workflow and no ending: start it again, then send the act. To start it, "
        f'{payment} {{"purchaseId": "{start.purchase_id}"}}, to /api/v1/purchases, or say '
        f"`coursaga purchases start {start.workflow_id}`.",
    )


async def live(services: Services, start: StartRow) -> tuple[StartRow, RunState | None, bool, str]:
    """Return the row, its run, whether Temporal answered, and whether a worker polls: "up", "down" or "unknown".

    A Temporal that does not answer is no error here. Where the run is closed the row is read again: a run writes its
    ending first, then it closes.
    """
    try:
        run = await run_state(services.temporal, start.workflow_id)
        run = (await placed(services, {run.workflow_id: run}))[run.workflow_id] if run else None
        worker = "up" if await workers_poll(services.temporal, services.task_queue) else "down"
    except Unavailable:
        return start, None, False, "unknown"
    if start.ending is None and (run is None or not run.kind.open):
        async with services.reading() as conn:
            start = (await starts_of(conn, [start.purchase_id]))[start.purchase_id]
        run = run or lost(start)
    return start, run, True, worker
