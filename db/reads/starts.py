"""Read `purchase_starts`: what was started, and how it ended, even after Temporal has forgotten it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import optional_row_as, row_as, rows_as
from domain.purchase import PurchaseOrder

# Endings in which no money of the student's was taken: the line may start again once its payment is good.
NO_MONEY_TAKEN = frozenset({"PAYMENT_NOT_FOUND", "PAYMENT_NOT_SUCCEEDED", "PAYMENT_PENDING_TOO_LONG"})


@dataclass(frozen=True)
class StartRow:
    """One row. `ending` None: it goes on. `attempt` counts the starts of the line; `begun`: its ledger has rows."""

    purchase_id: str
    workflow_id: str
    payment_id: str | None
    line: int
    student_id: str
    origin: str
    attempt: int
    started_at: datetime
    ending: str | None
    code: str | None
    refunded: bool | None
    ended_at: datetime | None
    begun: bool

    @property
    def order(self) -> PurchaseOrder:
        """The order its workflow was given, at this attempt."""
        return PurchaseOrder(
            self.purchase_id, self.workflow_id, self.payment_id or "", self.line, self.student_id, self.origin,
            self.attempt,
        )  # fmt: skip

    @property
    def took_no_money(self) -> bool:
        """Whether it ended before any money was taken, so that the line may start again."""
        return self.ending is not None and self.code in NO_MONEY_TAKEN and self.refunded is not True


# Raw, as all of this file: a start is told with what its ledger, decisions and purchase row say.
_COLUMNS = """purchase_id, workflow_id, payment_id, line, student_id, origin, attempt, started_at, ending, code, refunded, ended_at,
 EXISTS (SELECT FROM purchase_steps AS step WHERE step.purchase_id = purchase_starts.purchase_id
         AND step.attempt = purchase_starts.attempt) AS begun"""
_BY_IDS = text(f"SELECT {_COLUMNS} FROM purchase_starts WHERE purchase_id IN :ids").bindparams(  # noqa: S608 -- constants
    bindparam("ids", expanding=True)
)
_OF_PAYMENT = text(f"SELECT {_COLUMNS} FROM purchase_starts WHERE payment_id = :id")  # noqa: S608 -- constants
_VISIBLE = text(
    f"SELECT {_COLUMNS} FROM purchase_starts"  # noqa: S608 -- constants
    " WHERE purchase_id = :id AND (CAST(:own AS text) IS NULL OR student_id = :own)"
)
_OPEN = text(
    """
    SELECT purchase_id, workflow_id, started_at FROM purchase_starts
     WHERE ending IS NULL AND workflow_id <> ALL(:but_not)
       AND (CAST(:student AS text) IS NULL OR student_id = :student)
       AND (CAST(:payment AS text) IS NULL OR payment_id = :payment)
    """
)
_RESTART = text(
    """
    SELECT ARRAY(SELECT DISTINCT d.values ->> 'step' FROM operator_decisions d
                  WHERE d.purchase_id = s.purchase_id AND d.attempt = s.attempt AND d.verb = 'skip_step') AS skipped,
           EXISTS (SELECT FROM operator_decisions d
                    WHERE d.purchase_id = s.purchase_id AND d.attempt = s.attempt AND d.verb = 'cancel') AS cancelled,
           EXISTS (SELECT FROM purchase_steps t
                    WHERE t.purchase_id = s.purchase_id AND t.attempt = s.attempt AND t.state = 'undone') AS undone
      FROM purchase_starts s WHERE s.purchase_id = :id
    """
)
_ENDINGS = text(
    """
    SELECT s.purchase_id, s.ending, c.id IS NOT NULL AS has_row
      FROM purchase_starts s LEFT JOIN student_course_purchases c ON c.id = s.purchase_id
     WHERE s.purchase_id IN :ids
    """
).bindparams(bindparam("ids", expanding=True))


async def starts_of(conn: AsyncConnection, purchase_ids: Iterable[str]) -> dict[str, StartRow]:
    """Return the start rows of these purchases, by purchase id; those never started are absent."""
    ids = list(purchase_ids)
    if not ids:
        return {}
    rows = rows_as(StartRow, await conn.execute(_BY_IDS, {"ids": ids}))
    return {row.purchase_id: row for row in rows}


async def starts_of_payment(conn: AsyncConnection, payment_id: str) -> dict[int, StartRow]:
    """Return the start rows of a payment, by line."""
    rows = rows_as(StartRow, await conn.execute(_OF_PAYMENT, {"id": payment_id}))
    return {row.line: row for row in rows}


async def start_of(conn: AsyncConnection, purchase_id: str, own: str | None) -> StartRow | None:
    """Return the start row, None when it was never started or is not of the student `own` (None: everybody's)."""
    return optional_row_as(StartRow, await conn.execute(_VISIBLE, {"id": purchase_id, "own": own}))


@dataclass(frozen=True)
class OpenStart:
    """A purchase without an ending."""

    purchase_id: str
    workflow_id: str
    started_at: datetime


async def open_starts(
    conn: AsyncConnection, *, but_not: Iterable[str], student: str | None, payment: str | None
) -> list[OpenStart]:
    """Return the purchases without an ending, except those with the workflow ids `but_not`."""
    values = {"but_not": list(but_not), "student": student, "payment": payment}
    return rows_as(OpenStart, await conn.execute(_OPEN, values))


@dataclass(frozen=True)
class Unfinished:
    """What a run closed before its ending has left: the decisions made, and whether it was taking things back."""

    skipped: list[str]
    cancelled: bool
    undone: bool


async def unfinished_of(conn: AsyncConnection, purchase_id: str) -> Unfinished:
    """Read what the purchase's current attempt has left."""
    return row_as(Unfinished, await conn.execute(_RESTART, {"id": purchase_id}))


@dataclass(frozen=True)
class Outcome:
    """Whether the purchase row exists, and how the run ended if it has."""

    purchase_id: str
    has_row: bool
    ending: str | None


async def outcomes_of(conn: AsyncConnection, purchase_ids: Iterable[str]) -> dict[str, Outcome]:
    """Return what a waiting door looks at, by purchase id; those never started are absent."""
    rows = rows_as(Outcome, await conn.execute(_ENDINGS, {"ids": list(purchase_ids)}))
    return {row.purchase_id: row for row in rows}
