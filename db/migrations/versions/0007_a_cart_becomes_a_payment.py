"""A cart becomes a payment: what was said of each thing in the cart, and the answers that checkout repeats by key.

A row of `idempotency_keys` is written in the transaction of its payment, before the provider is asked; `answer` is
there once the provider has answered, and until `taken_until` somebody is at it.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CART = """
ALTER TABLE cart_items
  ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN added_at timestamptz NOT NULL DEFAULT now();
"""

KEYS = """
CREATE TABLE idempotency_keys (
  actor text,
  operation text,
  key text,
  request_hash text NOT NULL,
  payment_id text NOT NULL UNIQUE REFERENCES payments DEFERRABLE INITIALLY DEFERRED,
  taken_until timestamptz NOT NULL,
  answer jsonb,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (actor, operation, key),
  CONSTRAINT key_length CHECK (length(key) BETWEEN 8 AND 255)
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (CART, KEYS):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE idempotency_keys")
    op.execute("ALTER TABLE cart_items DROP COLUMN metadata, DROP COLUMN added_at")
