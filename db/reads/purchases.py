"""Read one purchase: its row, its steps, its trainer and its lessons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import optional_row_as, row_as, rows_as


@dataclass(frozen=True)
class StepDone:
    """A row of the step ledger: what was done or undone, and when. `attempt` counts the starts of the line."""

    step: str
    state: str
    attempt: int
    at: datetime


@dataclass(frozen=True)
class BoughtRow:
    """The purchase row: what the student got. `metadata` holds canonical fields, `metadata_sources` where each is from."""

    item_type: str
    item_id: str
    fulfilment: str
    status: str
    session_count: int | None
    session_count_source: str | None
    metadata: dict[str, Any]
    metadata_sources: dict[str, str]
    warnings: list[str]
    series_start: date | None
    purchased_at: datetime
    completed_at: datetime | None
    voided_at: datetime | None
    test_cards: int


@dataclass(frozen=True)
class AssignedTrainer:
    """The trainer held for the purchase; `lost` says why each other candidate was not taken."""

    allocation_id: str
    trainer_id: str
    trainer_name: str
    status: str
    lost: dict[str, str]


@dataclass(frozen=True)
class Lessons:
    """The lessons that exist. Times of day are wall time in `zone`; `minutes` is the length of one."""

    count: int
    first_local: datetime | None
    last_local: datetime | None
    minutes: int | None
    zone: str | None


# Raw: by the numbers of its progress, which follow the commits: the clocks of two workers may differ, or stand.
_STEPS = text(
    """
    SELECT step, state, attempt, at FROM purchase_steps AS kept
     WHERE purchase_id = :id AND (state = 'done' OR result IS NOT NULL)  -- else it was undone before it was ever done
     ORDER BY attempt, (SELECT max(number) FROM purchase_progress AS told
                         WHERE told.purchase_id = :id AND told.kind = 'step' AND told.facts ->> 'step' = kept.step), step
    """
)
# Raw: the row with how many cards it holds.
_BOUGHT = text(
    """
    SELECT item_type, item_id, fulfilment, status,
           CASE WHEN fulfilment <> 'test_cards' THEN session_count END AS session_count,
           CASE WHEN fulfilment <> 'test_cards' THEN session_count_source END AS session_count_source,
           metadata, metadata_sources, warnings, series_start, purchased_at, completed_at, voided_at,
           (SELECT count(*) FROM mock_test_attempts c WHERE c.purchase_id = p.id AND c.voided_at IS NULL) AS test_cards
      FROM student_course_purchases p WHERE id = :id
    """
)
# Raw: the one in force goes before those cancelled.
_ASSIGNED = text(
    """
    SELECT a.id AS allocation_id, a.trainer_id, t.name AS trainer_name, a.status, a.lost
      FROM allocations a JOIN trainers t ON t.id = a.trainer_id
     WHERE a.purchase_id = :id
     ORDER BY a.status = 'cancelled', a.created_at DESC
     LIMIT 1
    """
)
# Raw: what all lessons come to.
_LESSONS = text(
    """
    SELECT count(*) AS count, min(local_start) AS first_local, max(local_start) AS last_local,
           (min(extract(epoch FROM ends_at - starts_at)) / 60)::int AS minutes, min(zone) AS zone
      FROM sessions WHERE purchase_id = :id AND status <> 'cancelled'
    """
)
# Raw: a renewal leaves the lessons booked before with the older purchase: they count too, however often it was renewed.
_REMAINING = text(
    """
    WITH RECURSIVE chain AS (
        SELECT CAST(:id AS text) AS id
         UNION
        SELECT older.id FROM student_course_purchases older JOIN chain ON older.superseded_by = chain.id
    )
    SELECT count(*) FROM chain JOIN sessions s ON s.purchase_id = chain.id
     WHERE s.status = 'scheduled' AND s.ends_at > :now
    """
)


async def steps_of(conn: AsyncConnection, purchase_id: str) -> list[StepDone]:
    """Return the ledger of a purchase in the order things happened."""
    return rows_as(StepDone, await conn.execute(_STEPS, {"id": purchase_id}))


async def bought(conn: AsyncConnection, purchase_id: str) -> BoughtRow | None:
    """Return the purchase row, None before `create_purchase` and for lines that were refused before it."""
    return optional_row_as(BoughtRow, await conn.execute(_BOUGHT, {"id": purchase_id}))


async def assigned_trainer(conn: AsyncConnection, purchase_id: str) -> AssignedTrainer | None:
    """Return the allocation in force, else the last one cancelled, None when there was none."""
    return optional_row_as(AssignedTrainer, await conn.execute(_ASSIGNED, {"id": purchase_id}))


async def lessons_of(conn: AsyncConnection, purchase_id: str) -> Lessons:
    """Return a summary of the lessons that exist and are not cancelled."""
    return row_as(Lessons, await conn.execute(_LESSONS, {"id": purchase_id}))


async def remaining_of(conn: AsyncConnection, purchase_id: str, now: datetime) -> int:
    """Count lessons of this purchase and of those it renewed, not ended and not cancelled (mission row 61)."""
    return (await conn.execute(_REMAINING, {"id": purchase_id, "now": now})).scalar_one()
