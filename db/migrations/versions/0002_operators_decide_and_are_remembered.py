"""Operators decide, and are remembered: what later steps read, and the audit. Both are only ever added to.

`purchase_starts.decisions` counts the decisions of a purchase. A step that acts on decisions compares the count it has
read them under, so no step acts on what was decided otherwise meanwhile.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DECISIONS = """
ALTER TABLE purchase_starts ADD COLUMN decisions bigint NOT NULL DEFAULT 0;
CREATE TABLE operator_decisions (
  purchase_id text REFERENCES purchase_starts,
  request_key text,
  attempt bigint NOT NULL,
  verb text NOT NULL,
  values jsonb NOT NULL DEFAULT '{}',
  actor text NOT NULL,
  reason text NOT NULL,
  decided_at timestamptz NOT NULL,
  PRIMARY KEY (purchase_id, request_key),
  CONSTRAINT verb_known CHECK (verb IN
    ('amend', 'assign_trainer', 'approve_allocation', 'create_sessions', 'cancel', 'skip_step', 'retry_now'))
);
"""

ACTS = """
CREATE TABLE operator_acts (
  purchase_id text REFERENCES purchase_starts,
  request_key text,
  verb text NOT NULL,
  actor text NOT NULL,
  second_actor text,
  reason text NOT NULL,
  before jsonb NOT NULL DEFAULT '{}',
  after jsonb NOT NULL DEFAULT '{}',
  outcome text NOT NULL,
  acted_at timestamptz NOT NULL,
  PRIMARY KEY (purchase_id, request_key)
);
"""

ONLY_ADDED_TO = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is only added to, never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_decisions
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_acts
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (DECISIONS, ACTS, ONLY_ADDED_TO):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE operator_acts, operator_decisions")
    op.execute("DROP FUNCTION refuse_change()")
    op.execute("ALTER TABLE purchase_starts DROP COLUMN decisions")
