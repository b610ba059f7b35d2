"""List purchases in keyset pages: the newest page costs no more than the first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import rows_as


@dataclass(frozen=True)
class ListedPurchase:
    """One started line with what became of it. `ending` None: it goes on, and only Temporal knows whether it waits."""

    purchase_id: str
    workflow_id: str
    payment_id: str | None
    line: int
    student_id: str
    attempt: int
    started_at: datetime
    ending: str | None
    code: str | None
    refunded: bool | None
    session_count: int | None
    session_count_source: str | None
    sessions: int
    first_local: datetime | None
    last_local: datetime | None
    minutes: int | None
    zone: str | None
    test_cards: int
    remaining: int
    expires_on: date | None


@dataclass(frozen=True)
class Wanted:
    """Which purchases to list; all conditions must hold.

    `running_in`: only running ones with these workflow ids (or, with `code`, also those that ended with it).
    `running_not_in`: only running ones with other workflow ids.
    """

    student: str | None = None
    payment: str | None = None
    item: str | None = None
    ending: str | None = None
    code: str | None = None
    running_in: Collection[str] | None = None
    running_not_in: Collection[str] | None = None


@dataclass(frozen=True)
class Position:
    """The row after which the next page begins."""

    started_at: datetime
    purchase_id: str


# Raw: a page of starts, each with what its lessons, cards and renewals come to.
_ROWS = """
    WITH page AS (
        SELECT * FROM purchase_starts s
         WHERE {where}
         ORDER BY s.started_at, s.purchase_id
         LIMIT :limit
    )
    SELECT p.purchase_id, p.workflow_id, p.payment_id, p.line, p.student_id, p.attempt, p.started_at,
           p.ending, p.code, p.refunded, CASE WHEN c.fulfilment <> 'test_cards' THEN c.session_count END AS session_count,
           CASE WHEN c.fulfilment <> 'test_cards' THEN c.session_count_source END AS session_count_source,
           l.sessions, l.first_local, l.last_local, l.minutes, l.zone, t.test_cards, r.remaining, c.expires_on
      FROM page p
      LEFT JOIN student_course_purchases c ON c.id = p.purchase_id
     CROSS JOIN LATERAL (
           SELECT count(*) AS sessions, min(s.local_start) AS first_local, max(s.local_start) AS last_local,
                  (min(extract(epoch FROM s.ends_at - s.starts_at)) / 60)::int AS minutes, min(s.zone) AS zone
             FROM sessions s WHERE s.purchase_id = p.purchase_id AND s.status <> 'cancelled'
           ) l
     CROSS JOIN LATERAL (
           SELECT count(*) AS test_cards
             FROM mock_test_attempts t WHERE t.purchase_id = p.purchase_id AND t.voided_at IS NULL
           ) t
     CROSS JOIN LATERAL (
           WITH RECURSIVE chain AS (
               SELECT p.purchase_id AS id
                UNION
               SELECT older.id FROM student_course_purchases older JOIN chain ON older.superseded_by = chain.id
           )
           SELECT count(*) AS remaining FROM chain JOIN sessions s ON s.purchase_id = chain.id
            WHERE s.status = 'scheduled' AND s.ends_at > :now
           ) r
     ORDER BY p.started_at, p.purchase_id
"""


# What was paid for, and what an operator made of it.
_OF_ITEM = """(
    EXISTS (SELECT FROM payment_lines i WHERE i.payment_id = s.payment_id AND i.line = s.line AND i.item_id = :item)
    OR EXISTS (SELECT FROM student_course_purchases i WHERE i.id = s.purchase_id AND i.item_id = :item))"""


async def page_of_purchases(
    conn: AsyncConnection, wanted: Wanted, after: Position | None, limit: int, now: datetime
) -> list[ListedPurchase]:
    """Return up to `limit` rows, oldest start first, after `after`; `remaining` counts lessons that end after `now`."""
    conditions, values = _conditions(wanted)
    if after:
        conditions.append("(s.started_at, s.purchase_id) > (:after_at, :after_id)")
        values |= {"after_at": after.started_at, "after_id": after.purchase_id}
    statement = text(_ROWS.format(where=" AND ".join(conditions) or "true"))  # constants of this file only
    return rows_as(ListedPurchase, await conn.execute(statement, values | {"limit": limit, "now": now}))


def _conditions(wanted: Wanted) -> tuple[list[str], dict[str, object]]:
    clauses = {
        "s.student_id = :student": wanted.student,
        "s.payment_id = :payment": wanted.payment,
        "s.ending = :ending": wanted.ending,
        _OF_ITEM: wanted.item,
    }
    conditions = [clause for clause, value in clauses.items() if value is not None]
    values: dict[str, object] = {
        "student": wanted.student, "payment": wanted.payment, "ending": wanted.ending, "item": wanted.item,
    }  # fmt: skip
    if wanted.running_not_in is not None:
        conditions.append("s.ending IS NULL AND s.workflow_id <> ALL(:absent)")
        values["absent"] = list(wanted.running_not_in)
    parked = "s.ending IS NULL AND s.workflow_id = ANY(:present)"
    if wanted.running_in is not None:
        values["present"] = list(wanted.running_in)
        conditions.append(f"(s.code = :code OR {parked})" if wanted.code else parked)
        values["code"] = wanted.code
    elif wanted.code is not None:
        conditions.append("s.code = :code")
        values["code"] = wanted.code
    used = " ".join(conditions)
    return conditions, {name: value for name, value in values.items() if f":{name}" in used}
