"""Find stranded lessons: lessons to come on a trainer's blocked day or holiday that was closed after they were planned.

No lesson is marked as stranded, so no mark can be forgotten: each search finds them anew by their data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

from sqlalchemy import Result

from db.rows import rows_as
from domain.refusals import Refused
from domain.schedule import days_touched

# Raw: found anew by the data of five tables. Two days around each blocked one, for the zones; `stranded_of` looks
# again, on the trainer's own calendar.
# A holiday is one on the calendar of the series: the day asked for, even if the clocks moved the lesson past midnight.
STRANDED: LiteralString = """
WITH closed AS (
  SELECT slot.allocation_id, slot.number, array_agg(blocked.day) AS days, NULL::date AS holiday
  FROM trainer_blocked_days AS blocked
  JOIN trainer_slots AS slot ON slot.trainer_id = blocked.trainer_id AND slot.status <> 'cancelled'
    AND slot.during && tstzrange(blocked.day - interval '2 days', blocked.day + interval '3 days')
  WHERE blocked.day > CAST(:now AS timestamptz) - interval '3 days'
  GROUP BY slot.allocation_id, slot.number
  UNION ALL
  SELECT slot.allocation_id, slot.number, '{}', holiday.day
  FROM holidays AS holiday
  JOIN trainer_slots AS slot ON slot.status <> 'cancelled'
    AND slot.during && tstzrange(holiday.day - interval '2 days', holiday.day + interval '3 days')
    AND coalesce(slot.asked_start, slot.local_start)::date = holiday.day
  WHERE holiday.day > CAST(:now AS timestamptz) - interval '3 days'
)
SELECT allocation.purchase_id, slot.number, slot.trainer_id, trainer.timezone, slot.local_start,
       lower(slot.during) AS starts_at, upper(slot.during) AS ends_at, closed.days, closed.holiday
FROM closed
JOIN trainer_slots AS slot USING (allocation_id, number)
JOIN allocations AS allocation ON allocation.id = slot.allocation_id AND allocation.status = 'approved'
JOIN trainers AS trainer ON trainer.id = slot.trainer_id
LEFT JOIN sessions AS session USING (allocation_id, number)
WHERE lower(slot.during) > :now AND coalesce(session.status, 'scheduled') = 'scheduled'
  AND (CAST(:purchase_id AS text) IS NULL OR allocation.purchase_id = :purchase_id)
ORDER BY allocation.purchase_id, slot.number"""


@dataclass(frozen=True)
class Stranded:
    """A lesson to come on a closed `day`; `why` says in words what closed it."""

    purchase_id: str
    number: int
    trainer_id: str
    local_start: datetime
    day: date
    why: str


@dataclass(frozen=True)
class _Row:
    purchase_id: str
    number: int
    trainer_id: str
    timezone: str
    local_start: datetime
    starts_at: datetime
    ends_at: datetime
    days: list[date]
    holiday: date | None


def stranded_of(rows: Result[*tuple[Any, ...]]) -> list[Stranded]:
    """Return the lessons of these rows of STRANDED that really are on a closed day, each lesson once."""
    found: dict[tuple[str, int], Stranded] = {}
    for row in rows_as(_Row, rows):
        day, why = row.holiday, f"{row.holiday} is a holiday"
        if day is None:
            try:
                closed = days_touched(row.starts_at, row.ends_at, row.timezone) & set(row.days)
            except Refused:  # the trainer's zone is none: there is no calendar to look at
                continue
            if not closed:
                continue
            day = min(closed)
            why = f"{row.trainer_id} is blocked on {day}"
        found.setdefault(
            (row.purchase_id, row.number),
            Stranded(row.purchase_id, row.number, row.trainer_id, row.local_start, day, why),
        )
    return list(found.values())
