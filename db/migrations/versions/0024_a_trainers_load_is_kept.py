"""A trainer's load is kept with the trainer: who comes first is read from an index, not counted from everybody's slots.

`load` counts the slots of purchases that begin after `load_since`; no such slot begins before `load_until`, so between
the two it is what the trainer holds in future. Slots that are held before they are paid for are not in it: they end by
themselves, several at once, in the middle of other changes, and there are few. Triggers keep it in the statement of the
change, so no writer can forget it, code of before included.
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# Trainers are locked in the order of their ids, so that two statements that change slots of several cannot wait for
# each other. Before that, nothing is read that another transaction may be about to change.
ADD = """
CREATE FUNCTION add_to_loads(trainer_ids text[], starts timestamptz[], signs integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM trainers WHERE id = ANY(trainer_ids) ORDER BY id FOR NO KEY UPDATE;
  UPDATE trainers SET load = load + change.slots, load_until = least(load_until, change.first)
  FROM (
    SELECT trainers.id, sum(sign) AS slots, min(begins) FILTER (WHERE sign > 0) AS first
    FROM unnest(trainer_ids, starts, signs) AS slot (trainer_id, begins, sign)
    JOIN trainers ON trainers.id = slot.trainer_id AND begins > load_since
    GROUP BY trainers.id
  ) AS change
  WHERE trainers.id = change.id AND (change.slots <> 0 OR change.first < coalesce(load_until, 'infinity'));
END $$
"""
OF_SLOTS = """
CREATE FUNCTION keep_loads() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  trainer_ids text[];
  starts timestamptz[];
  signs integer[];
BEGIN
  IF TG_OP = 'INSERT' THEN
    SELECT array_agg(slot.trainer_id), array_agg(lower(during)), array_agg(1) INTO trainer_ids, starts, signs
    FROM new_slots AS slot JOIN allocations ON allocations.id = allocation_id AND purchase_id IS NOT NULL
    WHERE slot.status <> 'cancelled';
  ELSIF TG_OP = 'DELETE' THEN
    SELECT array_agg(slot.trainer_id), array_agg(lower(during)), array_agg(-1) INTO trainer_ids, starts, signs
    FROM old_slots AS slot JOIN allocations ON allocations.id = allocation_id AND purchase_id IS NOT NULL
    WHERE slot.status <> 'cancelled';
  ELSE
    SELECT array_agg(slot.trainer_id), array_agg(lower(during)), array_agg(sign) INTO trainer_ids, starts, signs
    FROM (
      SELECT allocation_id, trainer_id, during, status, -1 AS sign FROM old_slots
      UNION ALL SELECT allocation_id, trainer_id, during, status, 1 FROM new_slots
    ) AS slot JOIN allocations ON allocations.id = allocation_id AND purchase_id IS NOT NULL
    WHERE slot.status <> 'cancelled';
  END IF;
  IF trainer_ids IS NOT NULL THEN
    PERFORM add_to_loads(trainer_ids, starts, signs);
  END IF;
  RETURN NULL;
END $$
"""
# A slot hold that a purchase takes over: its slots stay as they are.
OF_HOLDS = """
CREATE FUNCTION keep_load_of_hold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM add_to_loads(
    array_agg(trainer_id), array_agg(lower(during)), array_agg(CASE WHEN NEW.purchase_id IS NULL THEN -1 ELSE 1 END))
  FROM trainer_slots WHERE allocation_id = NEW.id AND status <> 'cancelled';
  RETURN NULL;
END $$
"""
TRIGGERS = (
    """CREATE TRIGGER loads_with_new AFTER INSERT ON trainer_slots
         REFERENCING NEW TABLE AS new_slots FOR EACH STATEMENT EXECUTE FUNCTION keep_loads()""",
    """CREATE TRIGGER loads_with_changed AFTER UPDATE ON trainer_slots
         REFERENCING OLD TABLE AS old_slots NEW TABLE AS new_slots FOR EACH STATEMENT EXECUTE FUNCTION keep_loads()""",
    """CREATE TRIGGER loads_without_gone AFTER DELETE ON trainer_slots
         REFERENCING OLD TABLE AS old_slots FOR EACH STATEMENT EXECUTE FUNCTION keep_loads()""",
    """CREATE TRIGGER loads_with_holds_taken AFTER UPDATE OF purchase_id ON allocations
         FOR EACH ROW WHEN ((OLD.purchase_id IS NULL) <> (NEW.purchase_id IS NULL))
         EXECUTE FUNCTION keep_load_of_hold()""",
)
COLUMNS = """
ALTER TABLE trainers
  ADD COLUMN load bigint NOT NULL DEFAULT 0,
  ADD COLUMN load_since timestamptz NOT NULL DEFAULT 'epoch',
  ADD COLUMN load_until timestamptz
"""
# After the triggers, which wait for whoever is changing slots: what is counted here is all there is.
COUNT = """
UPDATE trainers SET load = held.slots, load_since = now(), load_until = held.first
FROM (
  SELECT trainers.id, count(slot.number) AS slots, min(lower(slot.during)) AS first
  FROM trainers LEFT JOIN (trainer_slots AS slot JOIN allocations AS allocation
      ON allocation.id = slot.allocation_id AND allocation.purchase_id IS NOT NULL)
    ON slot.trainer_id = trainers.id AND slot.status <> 'cancelled' AND lower(slot.during) > now()
  GROUP BY trainers.id
) AS held WHERE held.id = trainers.id
"""
INDEXES = (
    """-- squawk-ignore require-concurrent-index-creation
       CREATE INDEX trainers_by_load ON trainers (load, last_assigned_at NULLS FIRST, id COLLATE "C")""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE INDEX trainers_by_load_until ON trainers (load_until)""",
    """-- squawk-ignore require-concurrent-index-creation
       CREATE INDEX trainers_by_load_since ON trainers (load_since)""",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (COLUMNS, ADD, OF_SLOTS, OF_HOLDS, *TRIGGERS, COUNT, *INDEXES):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in ("loads_with_new", "loads_with_changed", "loads_without_gone"):
        op.execute(f"DROP TRIGGER {name} ON trainer_slots")
    op.execute("DROP TRIGGER loads_with_holds_taken ON allocations")
    op.execute("DROP FUNCTION keep_loads(), keep_load_of_hold(), add_to_loads(text[], timestamptz[], integer[])")
    op.execute("ALTER TABLE trainers DROP COLUMN load, DROP COLUMN load_since, DROP COLUMN load_until")
