"""A refund compares amounts: a line may need several tries, each a row of its own; never more than the line cost.

A try that the provider refused stays `failed` for good, so what somebody gives back by hand never counts as ours. An
operator may say that the money went back past the provider: `settled_outside`.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# What squawk is told to let pass: both tables are read once, in milliseconds. A worker of the version before asks for
# refunds by (payment_id, line), which fails from now on, as trouble; a worker of this version does it then.
TABLES = (
    """ALTER TABLE payment_lines ADD COLUMN given_back_minor bigint NOT NULL DEFAULT 0
         CONSTRAINT given_back_not_negative CHECK (given_back_minor >= 0)""",
    """ALTER TABLE refunds
         ADD COLUMN number bigint NOT NULL DEFAULT 1,
         ADD COLUMN given_before_minor bigint NOT NULL DEFAULT 0
           CONSTRAINT given_before_not_negative CHECK (given_before_minor >= 0)""",
    """-- squawk-ignore ban-drop-constraint
       ALTER TABLE refunds DROP CONSTRAINT refunds_payment_id_line_key""",
    """-- squawk-ignore ban-drop-constraint
       ALTER TABLE refunds DROP CONSTRAINT status_known""",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE refunds ADD CONSTRAINT status_known
         CHECK (status IN ('requested', 'succeeded', 'failed', 'settled_outside'))""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE UNIQUE INDEX one_open_refund ON refunds (payment_id, line) WHERE status = 'requested'""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE INDEX refunds_by_line ON refunds (payment_id, line)""",
    """-- squawk-ignore ban-drop-constraint
       ALTER TABLE operator_decisions DROP CONSTRAINT verb_known""",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE operator_decisions ADD CONSTRAINT verb_known CHECK (verb IN
         ('amend', 'assign_trainer', 'approve_allocation', 'create_sessions', 'cancel', 'skip_step', 'retry_now',
          'settle_refund'))""",
)

# The lock on the line makes two refunds of it take turns, so that each sees the other.
WITHIN_THE_COST = """
CREATE FUNCTION keep_refund_within_cost() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  cost bigint;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF (NEW.id, NEW.payment_id, NEW.line, NEW.amount_minor, NEW.currency)
       IS DISTINCT FROM (OLD.id, OLD.payment_id, OLD.line, OLD.amount_minor, OLD.currency) THEN
      RAISE EXCEPTION 'what a refund is of never changes'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'a_refund_stays_what_it_is';
    END IF;
    IF NEW.status <> OLD.status AND OLD.status <> 'requested'
       AND (OLD.status, NEW.status) NOT IN (('succeeded', 'failed'), ('failed', 'succeeded')) THEN
      RAISE EXCEPTION 'a refund that is % does not become %', OLD.status, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_never_move_backwards';
    END IF;
  END IF;
  SELECT amount_minor INTO cost FROM payment_lines
   WHERE payment_id = NEW.payment_id AND line = NEW.line FOR NO KEY UPDATE;
  IF cost < (SELECT sum(amount_minor) FROM refunds
              WHERE payment_id = NEW.payment_id AND line = NEW.line AND status <> 'failed') THEN
    RAISE EXCEPTION 'more would be given back of a payment line than it cost'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'no_more_back_than_it_cost';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER within_the_cost AFTER INSERT OR UPDATE ON refunds
  FOR EACH ROW EXECUTE FUNCTION keep_refund_within_cost();
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (*TABLES, WITHIN_THE_COST):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TRIGGER within_the_cost ON refunds")
    op.execute("DROP FUNCTION keep_refund_within_cost()")
    op.execute("ALTER TABLE operator_decisions DROP CONSTRAINT verb_known")
    op.execute(
        "ALTER TABLE operator_decisions ADD CONSTRAINT verb_known CHECK (verb IN ('amend', 'assign_trainer',"
        " 'approve_allocation', 'create_sessions', 'cancel', 'skip_step', 'retry_now'))"
    )
    op.execute("DROP INDEX one_open_refund, refunds_by_line")
    op.execute(  # of several tries the last one is the line's refund
        "DELETE FROM refunds AS old USING refunds AS later WHERE (old.payment_id, old.line) = (later.payment_id, later.line)"
        " AND old.number < later.number"
    )
    op.execute("UPDATE refunds SET status = 'succeeded' WHERE status = 'settled_outside'")
    op.execute("ALTER TABLE refunds DROP CONSTRAINT status_known, DROP COLUMN number, DROP COLUMN given_before_minor")
    op.execute("ALTER TABLE refunds ADD CONSTRAINT status_known CHECK (status IN ('requested', 'succeeded', 'failed'))")
    op.execute("ALTER TABLE refunds ADD UNIQUE (payment_id, line)")
    op.execute("ALTER TABLE payment_lines DROP COLUMN given_back_minor")
