"""The first schema: a payment becomes lessons.

Everything is text + CHECK, timestamptz and jsonb, so that it runs on PostgreSQL 15 to 18 and grows by small steps.
The uniques, CHECKs and EXCLUDE constraints carry the rules (mission rows 16, 25, 48, 61, 65, 81).
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PEOPLE = """
CREATE TABLE students (
  id text PRIMARY KEY,
  name text NOT NULL,
  email text,
  timezone text,
  latitude double precision,
  longitude double precision,
  coins_opening integer NOT NULL DEFAULT 0,
  CONSTRAINT coins_opening_not_negative CHECK (coins_opening >= 0)
);
CREATE TABLE trainers (
  id text PRIMARY KEY,
  name text NOT NULL,
  timezone text NOT NULL,
  latitude double precision,
  longitude double precision,
  radius_km double precision NOT NULL,
  max_group_size integer,
  last_assigned_at timestamptz,
  CONSTRAINT radius_not_negative CHECK (radius_km >= 0),
  CONSTRAINT group_at_least_one CHECK (max_group_size >= 1)
);
CREATE TABLE trainer_courses (
  trainer_id text REFERENCES trainers,
  course_id text,
  PRIMARY KEY (trainer_id, course_id)
);
CREATE INDEX trainer_courses_by_course ON trainer_courses (course_id);
CREATE TABLE trainer_availability (
  trainer_id text REFERENCES trainers,
  weekday integer,
  starts time,
  ends time NOT NULL,
  PRIMARY KEY (trainer_id, weekday, starts),
  CONSTRAINT weekday_iso CHECK (weekday BETWEEN 1 AND 7),
  CONSTRAINT hours_not_empty CHECK (starts <> ends)
);
CREATE TABLE trainer_blocked_days (
  trainer_id text REFERENCES trainers,
  day date,
  PRIMARY KEY (trainer_id, day)
);
CREATE TABLE holidays (day date PRIMARY KEY);
"""

SHOP = """
CREATE TABLE catalogue_items (
  item_type text,
  id text,
  title text NOT NULL,
  price_minor bigint NOT NULL,
  currency text NOT NULL,
  fulfilment text NOT NULL,
  open boolean NOT NULL DEFAULT true,
  PRIMARY KEY (item_type, id),
  CONSTRAINT item_type_known CHECK (item_type IN ('course', 'subject', 'bundle', 'test')),
  CONSTRAINT fulfilment_known CHECK (fulfilment IN ('sessions', 'test_cards', 'ownership')),
  CONSTRAINT price_not_negative CHECK (price_minor >= 0)
);
CREATE TABLE bundle_subjects (
  bundle_id text,
  subject_id text,
  PRIMARY KEY (bundle_id, subject_id)
);
CREATE TABLE cart_items (
  id text PRIMARY KEY,
  student_id text NOT NULL REFERENCES students,
  item_type text NOT NULL,
  item_id text NOT NULL,
  CONSTRAINT item_type_known CHECK (item_type IN ('course', 'subject', 'bundle', 'test'))
);
CREATE INDEX cart_items_by_student ON cart_items (student_id);
CREATE TABLE payments (
  id text PRIMARY KEY,
  student_id text NOT NULL REFERENCES students,
  status text NOT NULL,
  amount_minor bigint NOT NULL,
  currency text NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT id_shape CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  CONSTRAINT status_known CHECK (status IN ('pending', 'succeeded', 'failed', 'refunded', 'partially_refunded')),
  CONSTRAINT amount_not_negative CHECK (amount_minor >= 0)
);
CREATE INDEX payments_by_student ON payments (student_id, created_at);
CREATE TABLE payment_lines (
  payment_id text REFERENCES payments,
  line integer,
  item_type text NOT NULL,
  item_id text NOT NULL,
  amount_minor bigint NOT NULL,
  coins bigint NOT NULL DEFAULT 0,
  metadata jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (payment_id, line),
  CONSTRAINT line_from_one CHECK (line >= 1),
  CONSTRAINT amount_not_negative CHECK (amount_minor >= 0),
  CONSTRAINT coins_not_negative CHECK (coins >= 0)
);
CREATE TABLE refunds (
  id text PRIMARY KEY,
  payment_id text NOT NULL,
  line integer NOT NULL,
  amount_minor bigint NOT NULL,
  currency text NOT NULL,
  status text NOT NULL,
  provider_id text,
  requested_at timestamptz NOT NULL,
  settled_at timestamptz,
  UNIQUE (payment_id, line),
  CONSTRAINT status_known CHECK (status IN ('requested', 'succeeded', 'failed')),
  CONSTRAINT amount_positive CHECK (amount_minor > 0)
);
"""

PURCHASES = """
CREATE TABLE purchase_starts (
  purchase_id text PRIMARY KEY,
  workflow_id text NOT NULL UNIQUE,
  payment_id text,
  line integer NOT NULL,
  student_id text NOT NULL,
  origin text NOT NULL,
  attempt integer NOT NULL DEFAULT 1,
  event_metadata jsonb,
  started_at timestamptz NOT NULL,
  ending text,
  code text,
  refunded boolean,
  ended_at timestamptz,
  UNIQUE (payment_id, line),
  CONSTRAINT origin_known CHECK (origin IN ('checkout', 'event', 'admin', 'free', 'reconciler')),
  CONSTRAINT ending_known CHECK (ending IN ('completed', 'refused', 'cancelled')),
  CONSTRAINT attempt_from_one CHECK (attempt >= 1),
  CONSTRAINT ending_has_a_time CHECK ((ending IS NULL) = (ended_at IS NULL))
);
CREATE INDEX purchase_starts_by_time ON purchase_starts (started_at, purchase_id);
CREATE INDEX purchase_starts_by_student ON purchase_starts (student_id, started_at);
CREATE INDEX purchase_starts_running ON purchase_starts (started_at) WHERE ending IS NULL;
CREATE TABLE purchase_steps (
  purchase_id text REFERENCES purchase_starts,
  attempt integer,
  step text,
  state text NOT NULL,
  result jsonb,
  at timestamptz NOT NULL,
  PRIMARY KEY (purchase_id, attempt, step),
  CONSTRAINT state_known CHECK (state IN ('done', 'undone')),
  CONSTRAINT done_has_a_result CHECK (state = 'undone' OR result IS NOT NULL)
);
CREATE TABLE student_course_purchases (
  id text PRIMARY KEY REFERENCES purchase_starts,
  workflow_id text NOT NULL UNIQUE,
  payment_id text,
  line integer NOT NULL,
  student_id text NOT NULL REFERENCES students,
  item_type text NOT NULL,
  item_id text NOT NULL,
  fulfilment text NOT NULL,
  status text NOT NULL,
  session_count integer NOT NULL,
  session_count_source text NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  metadata_sources jsonb NOT NULL DEFAULT '{}',
  metadata_extras jsonb NOT NULL DEFAULT '{}',
  warnings jsonb NOT NULL DEFAULT '[]',
  series_start date,
  expires_on date,
  purchased_at timestamptz NOT NULL,
  completed_at timestamptz,
  voided_at timestamptz,
  superseded_by text REFERENCES student_course_purchases,
  UNIQUE (payment_id, line),
  FOREIGN KEY (payment_id, line) REFERENCES payment_lines,
  FOREIGN KEY (item_type, item_id) REFERENCES catalogue_items,
  CONSTRAINT status_known CHECK (status IN ('active', 'superseded', 'voided')),
  CONSTRAINT fulfilment_known CHECK (fulfilment IN ('sessions', 'test_cards', 'ownership')),
  CONSTRAINT session_count_source_known CHECK (session_count_source IN ('purchaseTier', 'sessionCount', 'default')),
  CONSTRAINT session_count_in_range CHECK (session_count BETWEEN 1 AND 1000),
  CONSTRAINT voided_has_a_time CHECK ((status = 'voided') = (voided_at IS NOT NULL)),
  CONSTRAINT superseded_names_its_renewal CHECK (status <> 'superseded' OR superseded_by IS NOT NULL),
  CONSTRAINT no_purchase_supersedes_itself CHECK (superseded_by <> id)
);
CREATE UNIQUE INDEX one_active_purchase_per_item
  ON student_course_purchases (student_id, item_type, item_id) WHERE status = 'active';
CREATE INDEX student_course_purchases_by_student ON student_course_purchases (student_id, purchased_at);
CREATE INDEX student_course_purchases_superseded_by ON student_course_purchases (superseded_by);
CREATE TABLE ownerships (
  purchase_id text REFERENCES student_course_purchases,
  item_type text,
  item_id text,
  student_id text NOT NULL REFERENCES students,
  purchased_at timestamptz NOT NULL,
  revoked_at timestamptz,
  PRIMARY KEY (purchase_id, item_type, item_id),
  FOREIGN KEY (item_type, item_id) REFERENCES catalogue_items
);
CREATE INDEX ownerships_live ON ownerships (student_id, item_type, item_id) WHERE revoked_at IS NULL;
CREATE TABLE enrollments (
  purchase_id text REFERENCES student_course_purchases,
  item_type text,
  item_id text,
  student_id text NOT NULL REFERENCES students,
  expires_on date,
  enrolled_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (purchase_id, item_type, item_id),
  FOREIGN KEY (item_type, item_id) REFERENCES catalogue_items
);
CREATE INDEX enrollments_live ON enrollments (student_id, item_type, item_id) WHERE ended_at IS NULL;
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text NOT NULL UNIQUE,
  type text NOT NULL,
  data jsonb NOT NULL DEFAULT '{}',
  occurred_at timestamptz NOT NULL,
  published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE TABLE learning_versions (
  student_id text PRIMARY KEY,
  version bigint NOT NULL
);
"""

LESSONS = """
CREATE TABLE allocations (
  id text PRIMARY KEY,
  purchase_id text NOT NULL REFERENCES student_course_purchases,
  trainer_id text NOT NULL REFERENCES trainers,
  student_id text NOT NULL REFERENCES students,
  status text NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  lost jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL,
  approved_at timestamptz,
  cancelled_at timestamptz,
  CONSTRAINT status_known CHECK (status IN ('proposed', 'approved', 'cancelled'))
);
CREATE UNIQUE INDEX one_allocation_per_purchase ON allocations (purchase_id) WHERE status <> 'cancelled';
CREATE INDEX allocations_by_trainer ON allocations (trainer_id);
CREATE TABLE trainer_slots (
  allocation_id text REFERENCES allocations,
  number integer,
  trainer_id text NOT NULL REFERENCES trainers,
  student_id text NOT NULL REFERENCES students,
  during tstzrange NOT NULL,
  local_start timestamp NOT NULL,
  zone text NOT NULL,
  status text NOT NULL,
  PRIMARY KEY (allocation_id, number),
  CONSTRAINT status_known CHECK (status IN ('held', 'cancelled')),
  CONSTRAINT number_from_one CHECK (number >= 1),
  CONSTRAINT during_is_a_lesson CHECK (
    NOT isempty(during) AND lower_inc(during) AND NOT upper_inc(during) AND NOT lower_inf(during) AND NOT upper_inf(during)
  ),
  CONSTRAINT trainer_slots_trainer_is_free
    EXCLUDE USING gist (trainer_id WITH =, during WITH &&) WHERE (status <> 'cancelled'),
  CONSTRAINT trainer_slots_student_is_free
    EXCLUDE USING gist (student_id WITH =, during WITH &&) WHERE (status <> 'cancelled')
);
CREATE TABLE sessions (
  allocation_id text,
  number integer,
  purchase_id text NOT NULL REFERENCES student_course_purchases,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  local_start timestamp NOT NULL,
  zone text NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (allocation_id, number),
  FOREIGN KEY (allocation_id, number) REFERENCES trainer_slots,
  CONSTRAINT status_known CHECK (status IN ('scheduled', 'cancelled')),
  CONSTRAINT starts_before_it_ends CHECK (starts_at < ends_at)
);
CREATE INDEX sessions_by_purchase ON sessions (purchase_id, number);
"""

# The name older services read (mission row C2). A WITH makes the view read-only: PostgreSQL refuses writes through it.
OLD_NAME = "CREATE VIEW purchases AS WITH kept AS (SELECT * FROM student_course_purchases) SELECT * FROM kept"

TABLES = (
    "sessions, trainer_slots, allocations, learning_versions, outbox, enrollments, ownerships, "
    "student_course_purchases, purchase_steps, purchase_starts, refunds, payment_lines, payments, cart_items, "
    "bundle_subjects, catalogue_items, holidays, trainer_blocked_days, trainer_availability, trainer_courses, "
    "trainers, students"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    for part in (PEOPLE, SHOP, PURCHASES, LESSONS, OLD_NAME):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP VIEW purchases")
    op.execute(f"DROP TABLE {TABLES}")
