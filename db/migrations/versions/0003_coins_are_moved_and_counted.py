"""Coins are moved and counted: every movement is a row that is only added to, and the balance follows it by itself.

The balance is kept by the database in the statement of the movement, so it is the sum of the movements whoever writes
one, and its CHECK refuses the movement that would make it negative, however many come at once (mission row 69, I7).
A student's opening balance becomes a movement when the student is inserted, by whatever version of the import.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COINS = """
CREATE TABLE coin_balances (
  student_id text PRIMARY KEY REFERENCES students,
  coins bigint NOT NULL,
  CONSTRAINT balance_not_negative CHECK (coins >= 0)
);
CREATE TABLE coin_movements (
  key text PRIMARY KEY,
  student_id text NOT NULL REFERENCES students,
  kind text NOT NULL,
  coins bigint NOT NULL,
  purchase_id text REFERENCES purchase_starts,
  actor text,
  reason text,
  moved_at timestamptz NOT NULL,
  CONSTRAINT kind_known CHECK (kind IN ('opening', 'top_up', 'redemption', 'recredit')),
  CONSTRAINT only_a_redemption_takes CHECK (coins <> 0 AND (coins < 0) = (kind = 'redemption')),
  CONSTRAINT of_a_purchase CHECK ((purchase_id IS NOT NULL) = (kind IN ('redemption', 'recredit'))),
  CONSTRAINT top_up_says_who_and_why CHECK (kind <> 'top_up' OR (actor IS NOT NULL AND reason IS NOT NULL))
);
CREATE INDEX coin_movements_by_student ON coin_movements (student_id, moved_at);
CREATE INDEX coin_movements_by_purchase ON coin_movements (purchase_id) WHERE purchase_id IS NOT NULL;
"""

# No upsert at once: PostgreSQL checks the row it would insert before it finds that there is one to update, and a
# redemption alone is a negative balance.
BALANCE_FOLLOWS = """
CREATE FUNCTION move_coins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE coin_balances SET coins = coins + NEW.coins WHERE student_id = NEW.student_id;
  IF NOT FOUND THEN
    INSERT INTO coin_balances (student_id, coins) VALUES (NEW.student_id, NEW.coins)
    ON CONFLICT (student_id) DO UPDATE SET coins = coin_balances.coins + excluded.coins;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER balance_follows AFTER INSERT ON coin_movements FOR EACH ROW EXECUTE FUNCTION move_coins();
CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON coin_movements
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

OPENING = """
CREATE FUNCTION open_coins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO coin_movements (key, student_id, kind, coins, moved_at)
  VALUES ('student:' || NEW.id || '\\:COIN_OPENING', NEW.id, 'opening', NEW.coins_opening, now());
  RETURN NULL;
END $$;
CREATE TRIGGER opening_balance AFTER INSERT ON students FOR EACH ROW
  WHEN (NEW.coins_opening > 0) EXECUTE FUNCTION open_coins();
INSERT INTO coin_movements (key, student_id, kind, coins, moved_at)
SELECT 'student:' || id || '\\:COIN_OPENING', id, 'opening', coins_opening, now() FROM students WHERE coins_opening > 0;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    for part in (COINS, BALANCE_FOLLOWS, OPENING):
        op.execute(part)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TRIGGER opening_balance ON students")
    op.execute("DROP TABLE coin_movements, coin_balances")
    op.execute("DROP FUNCTION move_coins(), open_coins()")
