"""Lessons are changed and remember: what the clocks did to them, who was to give them before, how often they changed.

Triggers keep count and history in the statement of the change, so no writer can forget it: `sessions.revision` grows
with every change of a lesson (the SEQUENCE of its calendar entry), `slot_history` holds what a slot was.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# The wall time a student asked for belongs to their zone, which stands beside it: no timestamptz.
CLOCK = """
ALTER TABLE {table}
  ADD COLUMN clock text CONSTRAINT clock_known CHECK (clock IN ('gap', 'fold')),
  -- squawk-ignore prefer-timestamp-tz
  ADD COLUMN asked_start timestamp
    CONSTRAINT gap_has_asked CHECK ((clock IS NOT DISTINCT FROM 'gap') = (asked_start IS NOT NULL));
"""

REVISION = """
ALTER TABLE sessions ADD COLUMN revision bigint NOT NULL DEFAULT 0, ADD COLUMN changed_at timestamptz;
CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.revision = OLD.revision + 1;
  NEW.changed_at = now();
  RETURN NEW;
END $$;
CREATE TRIGGER changes_are_counted BEFORE UPDATE ON sessions
  FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION count_change();
"""

HISTORY = """
CREATE TABLE slot_history (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  allocation_id text NOT NULL,
  -- squawk-ignore prefer-bigint-over-int
  number integer NOT NULL,
  trainer_id text NOT NULL REFERENCES trainers,
  during tstzrange NOT NULL,
  -- squawk-ignore prefer-timestamp-tz
  local_start timestamp NOT NULL,
  zone text NOT NULL,
  until timestamptz NOT NULL,
  FOREIGN KEY (allocation_id, number) REFERENCES trainer_slots
);
CREATE INDEX slot_history_by_slot ON slot_history (allocation_id, number);
CREATE INDEX slot_history_by_trainer ON slot_history (trainer_id, upper(during));
CREATE FUNCTION keep_slot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO slot_history (allocation_id, number, trainer_id, during, local_start, zone, until)
  VALUES (OLD.allocation_id, OLD.number, OLD.trainer_id, OLD.during, OLD.local_start, OLD.zone, now());
  UPDATE sessions SET changed_at = now() WHERE allocation_id = NEW.allocation_id AND number = NEW.number;
  RETURN NULL;
END $$;
CREATE TRIGGER kept_as_it_was AFTER UPDATE ON trainer_slots
  FOR EACH ROW WHEN ((OLD.trainer_id, OLD.during) IS DISTINCT FROM (NEW.trainer_id, NEW.during))
  EXECUTE FUNCTION keep_slot();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON slot_history
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for table in ("trainer_slots", "sessions"):
        op.execute(CLOCK.format(table=table))
    for part in (REVISION, HISTORY):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE slot_history")
    op.execute("DROP TRIGGER kept_as_it_was ON trainer_slots")
    op.execute("DROP TRIGGER changes_are_counted ON sessions")
    op.execute("DROP FUNCTION keep_slot(), count_change()")
    op.execute("ALTER TABLE sessions DROP COLUMN revision, DROP COLUMN changed_at")
    for table in ("trainer_slots", "sessions"):
        op.execute(f"ALTER TABLE {table} DROP COLUMN clock, DROP COLUMN asked_start")
