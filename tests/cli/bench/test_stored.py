"""The bench stores purchases by statements over whole sets; what it leaves is what purchases leave."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from cli.bench.stored import store
from tests.build import rows, run, value

# Each reference of each table, as a statement that counts the rows which refer to nothing.
REFERENCES = """
SELECT format('SELECT count(*) FROM %s AS of WHERE (%s) IS NOT NULL AND NOT EXISTS (SELECT FROM %s AS to_ WHERE (%s) = (%s))',
  conrelid::regclass, mine, confrelid::regclass, theirs, mine) AS lost, conname
FROM pg_constraint, LATERAL (
  SELECT string_agg('of.' || quote_ident(a.attname), ', ' ORDER BY k.n) AS mine,
         string_agg('to_.' || quote_ident(b.attname), ', ' ORDER BY k.n) AS theirs
  FROM unnest(conkey, confkey) WITH ORDINALITY AS k (a, b, n)
  JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = k.a
  JOIN pg_attribute AS b ON b.attrelid = confrelid AND b.attnum = k.b) AS names
WHERE contype = 'f'
"""


@pytest.fixture
def stored(engine: Engine, database_url: str) -> Engine:
    """120 purchases of three lessons, stored in two goes, and 280 refused starts."""
    store(database_url, 50, 1, (1, 100), ["enroll", "create_sessions"], 3)
    store(database_url, 120, 51, (101, 280), ["enroll", "create_sessions"], 3)
    return engine


def test_all_that_a_purchase_leaves_is_there(stored: Engine):
    counts = {
        "students": 120, "payment_lines": 120, "student_course_purchases": 120, "enrollments": 120, "allocations": 120,
        "trainer_slots": 360, "sessions": 360, "outbox": 240, "purchase_steps": 240, "purchase_starts": 400,
    }  # fmt: skip
    assert {table: value(stored, f"SELECT count(*) FROM {table}") for table in counts} == counts  # noqa: S608 -- ours


def test_every_reference_is_to_something(stored: Engine):
    checked = {row.conname: value(stored, row.lost) for row in rows(stored, REFERENCES)}
    assert len(checked) > 10
    assert set(checked.values()) == {0}, checked


def test_the_database_refuses_overlaps_as_before(stored: Engine):
    taken = "SELECT 'other', 1, trainer_id, 'stored-2', during, local_start, zone, status FROM trainer_slots"
    with pytest.raises(IntegrityError, match="trainer_slots_trainer_is_free"):
        run(
            stored,
            "INSERT INTO trainer_slots (allocation_id, number, trainer_id, student_id, during, local_start, zone, status)"
            f" {taken} WHERE allocation_id = 'stored-1' AND number = 1",
        )
