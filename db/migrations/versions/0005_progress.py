"""What a watcher of a purchase is told, numbered from 1 without gaps in the order of the commits, and a notice of each.

Triggers write it in the transaction of the change, so no writer can forget it. A number already taken is waited for:
whoever comes second in one purchase commits second.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PROGRESS = """
CREATE TABLE purchase_progress (
  purchase_id text REFERENCES purchase_starts,
  number bigint,
  kind text NOT NULL,
  facts jsonb NOT NULL DEFAULT '{}',
  at timestamptz NOT NULL,
  PRIMARY KEY (purchase_id, number),
  CONSTRAINT kind_known CHECK (kind IN ('started', 'step', 'attention', 'ended'))
);
"""

TELL = """
CREATE FUNCTION tell_progress(purchase text, what text, known jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    INSERT INTO purchase_progress (purchase_id, number, kind, facts, at)
    SELECT purchase, coalesce(max(number), 0) + 1, what, jsonb_strip_nulls(known), clock_timestamp()
    FROM purchase_progress WHERE purchase_id = purchase
    ON CONFLICT (purchase_id, number) DO NOTHING;
    EXIT WHEN FOUND;
  END LOOP;
  PERFORM pg_notify('purchase_progress', purchase);
END $$;

CREATE FUNCTION progress_of_start() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.ending IS NULL THEN
    PERFORM tell_progress(NEW.purchase_id, 'started', jsonb_build_object('attempt', NEW.attempt));
  ELSE
    PERFORM tell_progress(NEW.purchase_id, 'ended',
      jsonb_build_object('ending', NEW.ending, 'code', NEW.code, 'refunded', NEW.refunded));
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION progress_of_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_progress(NEW.purchase_id, 'step', jsonb_build_object('step', NEW.step, 'state', NEW.state));
  RETURN NULL;
END $$;

CREATE FUNCTION progress_of_attention() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM tell_progress(NEW.data ->> 'purchaseId', 'attention', jsonb_build_object('code', NEW.data ->> 'code'));
  RETURN NULL;
END $$;

CREATE TRIGGER told_to_watchers AFTER INSERT ON purchase_starts
  FOR EACH ROW EXECUTE FUNCTION progress_of_start();
CREATE TRIGGER change_told_to_watchers AFTER UPDATE ON purchase_starts
  FOR EACH ROW WHEN ((OLD.attempt, OLD.ending) IS DISTINCT FROM (NEW.attempt, NEW.ending))
  EXECUTE FUNCTION progress_of_start();
CREATE TRIGGER told_to_watchers AFTER INSERT ON purchase_steps
  FOR EACH ROW EXECUTE FUNCTION progress_of_step();
CREATE TRIGGER change_told_to_watchers AFTER UPDATE ON purchase_steps
  FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION progress_of_step();
CREATE TRIGGER told_to_watchers AFTER INSERT ON outbox
  FOR EACH ROW WHEN (NEW.type = 'PURCHASE_NEEDS_ATTENTION') EXECUTE FUNCTION progress_of_attention();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (PROGRESS, TELL):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("purchase_starts", "purchase_steps", "outbox"):
        op.execute(f"DROP TRIGGER told_to_watchers ON {table}")
    for table in ("purchase_starts", "purchase_steps"):
        op.execute(f"DROP TRIGGER change_told_to_watchers ON {table}")
    op.execute("DROP FUNCTION progress_of_start, progress_of_step, progress_of_attention, tell_progress")
    op.execute("DROP TABLE purchase_progress")
