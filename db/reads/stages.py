"""Read from the ledger where purchases stand that go from step to step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.rows import rows_as
from domain.stages import stage_of

# Raw: a start is told with its steps.
_DONE = text("""
SELECT start.workflow_id, purchase.fulfilment,
       ARRAY(SELECT step FROM purchase_steps AS step WHERE step.purchase_id = start.purchase_id
             AND step.attempt = start.attempt AND state = 'done') AS done
  FROM purchase_starts AS start LEFT JOIN student_course_purchases AS purchase ON purchase.id = start.purchase_id
 WHERE start.workflow_id = ANY(:ids)
""")


@dataclass(frozen=True)
class _Done:
    workflow_id: str
    fulfilment: str | None
    done: list[str]


async def ledger_stages(conn: AsyncConnection, workflow_ids: Iterable[str]) -> dict[str, str]:
    """Return the step that each of these purchases is at, by workflow id."""
    rows = rows_as(_Done, await conn.execute(_DONE, {"ids": list(workflow_ids)}))
    return {row.workflow_id: stage_of(row.done, row.fulfilment) for row in rows}
