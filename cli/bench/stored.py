"""Fill the bench's database with purchases that were done long ago, by statements over whole sets, not by workflows.

Each has what a purchase of 30 lessons leaves behind: student, payment, start, ledger, purchase, ownership, enrollment,
trainer held, slots, lessons, events told, progress. Some starts more were refused, and left nothing but themselves.
"""

from __future__ import annotations

import re
from typing import LiteralString

from sqlalchemy import TextClause, text

from db.engine import make_engine

_PER_TRAINER = 100  # purchases: as many blocks of 30 days and hours of a day as do not overlap
_COURSES = 20

# `n` counts purchases from :first to :last; those of one trainer take turns by hour, then by block of days. Half of the
# lessons are over. No trigger runs and no reference is looked up: what is written here fits.
_EACH: tuple[LiteralString, ...] = (
    """INSERT INTO catalogue_items (item_type, id, title, price_minor, currency, fulfilment)
       SELECT 'course', 'stored-' || c, 'stored', 30000, 'GBP', 'sessions' FROM generate_series(0, :courses - 1) AS c
       ON CONFLICT DO NOTHING""",
    """INSERT INTO trainers (id, name, timezone, latitude, longitude, radius_km)
       SELECT 'stored-' || t, 'stored', 'UTC', 51.5, -0.12, 25
       FROM generate_series(:first / :per_trainer, :last / :per_trainer) AS t ON CONFLICT DO NOTHING""",
    """INSERT INTO trainer_courses SELECT 'stored-' || t, 'stored-' || t % :courses
       FROM generate_series(:first / :per_trainer, :last / :per_trainer) AS t ON CONFLICT DO NOTHING""",
    """INSERT INTO students (id, name, timezone, latitude, longitude)
       SELECT 'stored-' || n, 'stored', 'UTC', 51.5, -0.12 FROM generate_series(:first, :last) AS n""",
    """INSERT INTO payments (id, student_id, status, amount_minor, currency, created_at)
       SELECT 'stored-' || n, 'stored-' || n, 'succeeded', 30000, 'GBP', now() - interval '200 days'
       FROM generate_series(:first, :last) AS n""",
    """INSERT INTO payment_lines (payment_id, line, item_type, item_id, amount_minor, metadata)
       SELECT 'stored-' || n, 1, 'course', 'stored-' || n / :per_trainer % :courses, 30000,
         jsonb_build_object('courseId', 'stored', 'purchaseTier', 30, 'scheduleType', 'daily', 'learningMode', 'online')
       FROM generate_series(:first, :last) AS n""",
    """INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, started_at, ending,
         refunded, ended_at)
       SELECT 'stored-' || n, 'stored-purchase-' || n || '/1', 'stored-' || n, 1, 'stored-' || n, 'event', at, 'completed',
         false, at + interval '1 second'
       FROM generate_series(:first, :last) AS n, LATERAL (SELECT now() - n % 200 * interval '1 day' AS at) AS day""",
    """INSERT INTO purchase_steps (purchase_id, attempt, step, state, result, at)
       SELECT 'stored-' || n, 1, step, 'done', '{"outcome": "all"}', now() - n % 200 * interval '1 day'
       FROM generate_series(:first, :last) AS n, unnest(CAST(:steps AS text[])) AS step""",
    """INSERT INTO purchase_progress (purchase_id, number, kind, facts, at)
       SELECT 'stored-' || n, k, 'step', '{"step": "enroll"}', now() - n % 200 * interval '1 day'
       FROM generate_series(:first, :last) AS n, generate_series(1, cardinality(CAST(:steps AS text[])) + 2) AS k""",
    """INSERT INTO student_course_purchases (id, workflow_id, payment_id, line, student_id, item_type, item_id, fulfilment,
         status, session_count, session_count_source, purchased_at, completed_at)
       SELECT 'stored-' || n, 'stored-purchase-' || n || '/1', 'stored-' || n, 1, 'stored-' || n, 'course',
         'stored-' || n / :per_trainer % :courses, 'sessions', 'active', :lessons, 'purchaseTier', at, at
       FROM generate_series(:first, :last) AS n, LATERAL (SELECT now() - n % 200 * interval '1 day' AS at) AS day""",
    """INSERT INTO ownerships (purchase_id, item_type, item_id, student_id, purchased_at)
       SELECT id, item_type, item_id, student_id, purchased_at FROM student_course_purchases
       WHERE id = ANY(SELECT 'stored-' || n FROM generate_series(:first, :last) AS n)""",
    """INSERT INTO enrollments (purchase_id, item_type, item_id, student_id, enrolled_at)
       SELECT id, item_type, item_id, student_id, purchased_at FROM student_course_purchases
       WHERE id = ANY(SELECT 'stored-' || n FROM generate_series(:first, :last) AS n)""",
    """INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at, approved_at)
       SELECT 'stored-' || n, 'stored-' || n, 'stored-' || n / :per_trainer, 'stored-' || n, 'approved', now(), now()
       FROM generate_series(:first, :last) AS n""",
    """INSERT INTO trainer_slots (allocation_id, number, trainer_id, student_id, during, local_start, zone, status)
       SELECT 'stored-' || n, k, 'stored-' || n / :per_trainer, 'stored-' || n, tstzrange(at, at + interval '1 hour', '[)'),
         at AT TIME ZONE 'UTC', 'UTC', 'held'
       FROM generate_series(:first, :last) AS n, generate_series(1, :lessons) AS k, LATERAL (
         SELECT date_trunc('day', now(), 'UTC') + interval '1 hour' * (8 + n % :per_trainer % 12)
           + interval '1 day' * (n % :per_trainer / 12 * 30 + k - 135) AS at) AS lesson""",
    """INSERT INTO sessions (allocation_id, number, purchase_id, starts_at, ends_at, local_start, zone, status, created_at)
       SELECT allocation_id, number, allocation_id, lower(during), upper(during), local_start, zone, 'scheduled', now()
       FROM trainer_slots
       WHERE allocation_id = ANY(SELECT 'stored-' || n FROM generate_series(:first, :last) AS n)""",
    """INSERT INTO outbox (key, type, data, occurred_at, published_at)
       SELECT 'stored-' || n || '/' || type, type, jsonb_build_object('purchaseId', 'stored-' || n,
         'workflowId', 'stored-purchase-' || n || '/1', 'paymentId', 'stored-' || n, 'studentId', 'stored-' || n), now(), now()
       FROM generate_series(:first, :last) AS n, unnest(ARRAY['PURCHASE_CREATED', 'PURCHASE_COMPLETED']) AS type""",
)
_REFUSED = """INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, started_at, ending,
         code, refunded, ended_at)
       SELECT 'refused-' || n, 'refused-purchase-' || n || '/1', 'refused-' || n, 1, 'stored-' || n % :last, 'event', at,
         'refused', 'PAYMENT_NOT_SUCCEEDED', false, at
       FROM generate_series(:first, :last) AS n, LATERAL (SELECT now() - n % 200 * interval '1 day' AS at) AS day"""
# Of the constraints against overlaps. Each row looked up would take an hour, and so would building them anew, which looks
# each row up as well; VACUUM FULL builds them from all rows and looks nothing up.
_OVERLAPS = """UPDATE pg_index SET indisready = :kept, indisvalid = :kept WHERE indexrelid IN (
                 SELECT conindid FROM pg_constraint WHERE conrelid = 'trainer_slots'::regclass AND contype = 'x')"""


def store(database_url: str, last: int, first: int, starts: tuple[int, int], steps: list[str], lessons: int) -> None:
    """Store the purchases `first` to `last`, and the refused starts of the range `starts`.

    `steps`: names for the ledger.
    """
    engine = make_engine(database_url, pool_size=1, statement_timeout_ms=0, lock_timeout_ms=0)
    values = {
        "first": first, "last": last, "per_trainer": _PER_TRAINER, "courses": _COURSES, "steps": steps, "lessons": lessons,
    }  # fmt: skip
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text(_OVERLAPS), {"kept": False})
            for statement in _EACH:
                connection.execute(_typed(statement), values)
            if starts[1] >= starts[0]:
                connection.execute(_typed(_REFUSED), {"first": starts[0], "last": starts[1]})
            connection.execute(text(_OVERLAPS), {"kept": True})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET maintenance_work_mem = '512MB'"))
            connection.execute(text("VACUUM FULL trainer_slots"))
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text("CHECKPOINT"))  # what is measured next does not pay for what was written here
    finally:
        engine.dispose()


def _typed(statement: str) -> TextClause:
    """Return the statement with its numbers as integers: the driver says how wide each is, and no function fits all."""
    return text(re.sub(r":(first|last|per_trainer|courses|lessons)\b", r"CAST(:\1 AS integer)", statement))
