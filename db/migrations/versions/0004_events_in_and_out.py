"""Events from others and to others: what was taken in, what could not be, who is told and how that went.

The outbox stays as it is: an event is published when `published_at` is set, and its deliveries to webhooks are made
in the same transaction. Dead letters keep the original bytes for good; what was done about them is only added to.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

IN = """
CREATE TABLE taken_events (
  key text PRIMARY KEY,
  event_id text NOT NULL,
  type text NOT NULL,
  payment_id text NOT NULL,
  data jsonb NOT NULL DEFAULT '{}',
  occurred_at timestamptz NOT NULL,
  taken_at timestamptz NOT NULL,
  handled_at timestamptz
);
CREATE TABLE dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  digest text NOT NULL UNIQUE,
  topic text NOT NULL,
  topic_partition bigint NOT NULL,
  topic_offset bigint NOT NULL,
  message_key bytea,
  payload bytea NOT NULL,
  code text NOT NULL,
  detail text NOT NULL,
  tries bigint NOT NULL,
  arrived_at timestamptz NOT NULL,
  fixed_payload text,
  replayed_at timestamptz,
  CONSTRAINT tries_from_one CHECK (tries >= 1)
);
CREATE INDEX dead_letters_waiting ON dead_letters (id) WHERE replayed_at IS NULL;
CREATE TABLE dead_letter_acts (
  dead_letter_id bigint REFERENCES dead_letters,
  request_key text,
  verb text NOT NULL,
  actor text NOT NULL,
  reason text NOT NULL,
  before jsonb NOT NULL DEFAULT '{}',
  after jsonb NOT NULL DEFAULT '{}',
  outcome text NOT NULL,
  acted_at timestamptz NOT NULL,
  PRIMARY KEY (dead_letter_id, request_key),
  CONSTRAINT verb_known CHECK (verb IN ('fix', 'replay'))
);
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON dead_letter_acts
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

OUT = """
CREATE TABLE webhook_targets (
  id text PRIMARY KEY,
  url text NOT NULL,
  secret text NOT NULL,
  event_types jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL,
  removed_at timestamptz
);
CREATE UNIQUE INDEX one_live_target_per_url ON webhook_targets (url) WHERE removed_at IS NULL;
CREATE TABLE webhook_deliveries (
  target_id text REFERENCES webhook_targets,
  event_id bigint REFERENCES outbox,
  subject text NOT NULL,
  tries bigint NOT NULL DEFAULT 0,
  next_try_at timestamptz NOT NULL,
  answer text,
  delivered_at timestamptz,
  given_up_at timestamptz,
  PRIMARY KEY (target_id, event_id),
  CONSTRAINT one_end CHECK (delivered_at IS NULL OR given_up_at IS NULL)
);
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (target_id, subject, event_id)
  WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (IN, OUT):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE webhook_deliveries, webhook_targets, dead_letter_acts, dead_letters, taken_events")
