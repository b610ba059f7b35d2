"""One idea of a student's id: 1 to 128 printable ASCII characters, no blank at an end, not `me`.

Only for who is new: where an older version took students under another id they stay, and the constraint NOT VALID.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SHAPE = """
ALTER TABLE students ADD CONSTRAINT student_id_shape
  CHECK (id ~ '^[!-~]([ -~]{0,126}[!-~])?$' AND id <> 'me') NOT VALID;
"""

VALID = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM students WHERE NOT (id ~ '^[!-~]([ -~]{0,126}[!-~])?$' AND id <> 'me')) THEN
    ALTER TABLE students VALIDATE CONSTRAINT student_id_shape;
  END IF;
END $$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    op.execute(SHAPE)
    op.execute(VALID)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE students DROP CONSTRAINT student_id_shape")
