"""Subjects bring test cards: what a purchase's subjects are, 50 cards of each, three attempts at each card.

A database may hold `mock_test_attempts` from before, with the key `unique_test_per_purchase` (purchase_id,
test_number), which allowed a purchase one subject only. That table is kept with its rows, its key is exchanged for
`unique_test_per_purchase_subject`. What its rows are not held to (they belong to purchases of another system) new rows
are. All of it may run again (mission row 1).
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SUBJECTS = """
CREATE TABLE IF NOT EXISTS purchase_subjects (
  purchase_id text REFERENCES student_course_purchases,
  subject_id text,
  PRIMARY KEY (purchase_id, subject_id)
);
"""

CARDS = """
CREATE TABLE mock_test_attempts (
  id text PRIMARY KEY,
  purchase_id text NOT NULL,
  subject_id text NOT NULL,
  test_number bigint NOT NULL,
  issued_at timestamptz NOT NULL DEFAULT now(),
  voided_at timestamptz,
  FOREIGN KEY (purchase_id, subject_id) REFERENCES purchase_subjects,
  CONSTRAINT unique_test_per_purchase_subject UNIQUE (purchase_id, subject_id, test_number),
  CONSTRAINT test_number_in_range CHECK (test_number BETWEEN 1 AND 50)
);
"""

OLD_KEY = """
ALTER TABLE mock_test_attempts DROP CONSTRAINT IF EXISTS unique_test_per_purchase;
DROP INDEX IF EXISTS unique_test_per_purchase;
ALTER TABLE mock_test_attempts
  ADD COLUMN IF NOT EXISTS id text NOT NULL DEFAULT gen_random_uuid()::text,
  ADD COLUMN IF NOT EXISTS issued_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN IF NOT EXISTS voided_at timestamptz;
"""

# Ids were numbers; what else a row had to say is no longer asked for.
OLD_COLUMNS = """
DO $$
DECLARE old record;
BEGIN
  FOR old IN
    SELECT column_name AS name, is_identity = 'YES' AS counted, data_type <> 'text' AS other
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = 'mock_test_attempts'
      AND column_name IN ('id', 'purchase_id', 'subject_id')
  LOOP
    IF old.counted THEN
      EXECUTE format('ALTER TABLE mock_test_attempts ALTER COLUMN %I DROP IDENTITY', old.name);
    END IF;
    EXECUTE format('ALTER TABLE mock_test_attempts ALTER COLUMN %I DROP DEFAULT', old.name);
    IF old.other THEN
      EXECUTE format('ALTER TABLE mock_test_attempts ALTER COLUMN %1$I TYPE text USING %1$I::text', old.name);
    END IF;
  END LOOP;
  FOR old IN
    SELECT column_name AS name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = 'mock_test_attempts'
      AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'
      AND column_name NOT IN ('id', 'purchase_id', 'subject_id', 'test_number', 'issued_at')
  LOOP
    EXECUTE format('ALTER TABLE mock_test_attempts ALTER COLUMN %I DROP NOT NULL', old.name);
  END LOOP;
END $$;
"""

NEW_KEYS = """
DO $$
DECLARE
  known text[] := ARRAY(SELECT conname FROM pg_constraint WHERE conrelid = 'mock_test_attempts'::regclass);
BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'mock_test_attempts'::regclass AND contype = 'p') THEN
    ALTER TABLE mock_test_attempts ADD PRIMARY KEY (id);
  END IF;
  IF NOT 'unique_test_per_purchase_subject' = ANY (known) THEN
    ALTER TABLE mock_test_attempts
      ADD CONSTRAINT unique_test_per_purchase_subject UNIQUE (purchase_id, subject_id, test_number);
  END IF;
  IF NOT 'test_number_in_range' = ANY (known) THEN
    ALTER TABLE mock_test_attempts
      ADD CONSTRAINT test_number_in_range CHECK (test_number BETWEEN 1 AND 50) NOT VALID;
  END IF;
  IF NOT 'mock_test_attempts_purchase_id_subject_id_fkey' = ANY (known) THEN
    ALTER TABLE mock_test_attempts ADD FOREIGN KEY (purchase_id, subject_id) REFERENCES purchase_subjects NOT VALID;
  END IF;
END $$;
"""

ATTEMPTS = """
CREATE TABLE IF NOT EXISTS test_attempt_sessions (
  id text PRIMARY KEY,
  test_card_id text NOT NULL REFERENCES mock_test_attempts,
  attempt bigint NOT NULL,
  idempotency_key text NOT NULL,
  state text NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at timestamptz,
  UNIQUE (test_card_id, attempt),
  UNIQUE (test_card_id, idempotency_key),
  CONSTRAINT attempt_in_range CHECK (attempt BETWEEN 1 AND 3),
  CONSTRAINT state_known CHECK (state IN ('in_progress', 'submitted', 'expired')),
  CONSTRAINT ended_has_a_time CHECK ((state = 'in_progress') = (ended_at IS NULL))
);
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(SUBJECTS)
    was_there = op.get_bind().scalar(text("SELECT to_regclass('mock_test_attempts') IS NOT NULL"))
    for part in (OLD_KEY, OLD_COLUMNS, NEW_KEYS) if was_there else (CARDS,):
        op.execute(part)
    op.execute(ATTEMPTS)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE test_attempt_sessions, mock_test_attempts, purchase_subjects")
