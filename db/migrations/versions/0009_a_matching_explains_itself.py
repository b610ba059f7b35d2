"""A matching explains itself, and times may be held before they are paid for.

- `allocations.won` and `decided_by`: why this trainer, and who said so; `lost` has the others since the first schema.
- `refused_matchings`: why nobody was taken, one row per purchase, written anew only when the result differs.
- A slot hold is an allocation `on_hold`: no purchase yet, a course, an end. The slots' own constraints guard its times;
  one hold per student and course, and three per student (`hold_number`), so that nobody blocks the market.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DECISIONS = """
ALTER TABLE allocations
  ADD COLUMN won jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN decided_by text NOT NULL DEFAULT 'automatic';
CREATE TABLE refused_matchings (
  purchase_id text PRIMARY KEY REFERENCES purchase_starts,
  code text NOT NULL,
  message text NOT NULL,
  lost jsonb NOT NULL DEFAULT '{}',
  decided_by text NOT NULL DEFAULT 'automatic',
  refused_at timestamptz NOT NULL
);
"""

# What squawk is told to let pass: code in use asks for allocations by their purchase, so it never meets a hold; and the
# table has one row per purchase, none of them a hold yet: a check reads it once, in milliseconds, an index is made
# empty.
HOLDS = (
    """-- squawk-ignore ban-drop-not-null
       ALTER TABLE allocations ALTER COLUMN purchase_id DROP NOT NULL""",
    """ALTER TABLE allocations
         ADD COLUMN course_id text,
         ADD COLUMN hold_number bigint,
         ADD COLUMN hold_expires_at timestamptz""",
    """-- squawk-ignore ban-drop-constraint
       ALTER TABLE allocations DROP CONSTRAINT status_known""",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE allocations ADD CONSTRAINT status_known CHECK (status IN ('on_hold', 'proposed', 'approved', 'cancelled'))""",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE allocations ADD CONSTRAINT hold_is_whole CHECK (status <> 'on_hold' OR (purchase_id IS NULL AND course_id IS NOT NULL
           AND hold_number IS NOT NULL AND hold_expires_at IS NOT NULL))""",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE allocations ADD CONSTRAINT only_holds_lack_a_purchase CHECK (purchase_id IS NOT NULL
           OR (hold_expires_at IS NOT NULL AND status IN ('on_hold', 'cancelled')))""",
    """-- squawk-ignore constraint-missing-not-valid
       ALTER TABLE allocations ADD CONSTRAINT hold_number_known CHECK (hold_number BETWEEN 1 AND 3)""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE UNIQUE INDEX one_hold_per_course ON allocations (student_id, course_id) WHERE status = 'on_hold'""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE UNIQUE INDEX few_holds_per_student ON allocations (student_id, hold_number) WHERE status = 'on_hold'""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE INDEX holds_by_end ON allocations (hold_expires_at) WHERE status = 'on_hold'""",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (DECISIONS, *HOLDS):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE refused_matchings")
    op.execute(
        "DELETE FROM trainer_slots WHERE allocation_id IN (SELECT id FROM allocations WHERE purchase_id IS NULL)"
    )
    op.execute("DELETE FROM allocations WHERE purchase_id IS NULL")
    op.execute("""
      ALTER TABLE allocations
        DROP CONSTRAINT status_known, DROP CONSTRAINT hold_is_whole, DROP CONSTRAINT only_holds_lack_a_purchase,
        DROP CONSTRAINT hold_number_known,
        DROP COLUMN won, DROP COLUMN decided_by, DROP COLUMN course_id, DROP COLUMN hold_number,
        DROP COLUMN hold_expires_at,
        ALTER COLUMN purchase_id SET NOT NULL,
        ADD CONSTRAINT status_known CHECK (status IN ('proposed', 'approved', 'cancelled'))
    """)
