"""Faults inside PostgreSQL, at the row an activity writes: a statement or its commit that waits, or fails n times."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy import Engine, text

from tests.build import run, value
from tests.faults.marks import COLUMNS, Mark
from tests.waiting import eventually

LOCKS = 4711  # the class of our advisory locks
# They act as the owner of the tables: whoever fires them need not be able to read the plans.
_FUNCTIONS = """
CREATE TABLE planned_faults (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text, point text, what text, times bigint);
CREATE FUNCTION planned(owner text, point text, what text) RETURNS planned_faults LANGUAGE sql AS
  'SELECT f FROM planned_faults AS f WHERE (f.owner, f.point, f.what) = ($1, $2, $3)';

CREATE FUNCTION pauses() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE fault planned_faults := planned(to_jsonb(NEW) ->> TG_ARGV[0], point_of(TG_RELID, to_jsonb(NEW), TG_ARGV), 'pause');
BEGIN
  IF fault.id IS NOT NULL THEN
    PERFORM set_config('lock_timeout', '0', true);
    PERFORM pg_advisory_xact_lock_shared({locks}, fault.id);
  END IF;
  RETURN NEW;
END $$;

-- Sequences survive a rollback, so they count the failed tries too.
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE fault planned_faults := planned(to_jsonb(NEW) ->> TG_ARGV[0], point_of(TG_RELID, to_jsonb(NEW), TG_ARGV), 'fail');
BEGIN
  IF fault.id IS NOT NULL AND nextval('calls_' || fault.id) <= fault.times THEN
    RAISE EXCEPTION 'planned trouble' USING ERRCODE = '53300';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE fault planned_faults := planned(to_jsonb(NEW) ->> TG_ARGV[0], point_of(TG_RELID, to_jsonb(NEW), TG_ARGV), 'hold');
BEGIN
  IF fault.id IS NOT NULL THEN
    PERFORM set_config('lock_timeout', '0', true);  -- how long it waits is the test's affair
    PERFORM pg_advisory_xact_lock_shared({locks}, fault.id);
  END IF;
  RETURN NULL;
END $$;
"""
# A function's body is checked when it is first called, so the order of these does not matter.
_POINT = """
CREATE FUNCTION point_of(source oid, written jsonb, columns text[]) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(part, ':' ORDER BY at) FROM (
    SELECT source::regclass::text AS part, 0 AS at
    UNION ALL SELECT written ->> name, at FROM unnest(columns) WITH ORDINALITY AS named (name, at) WHERE at > 1) AS parts
$$;
"""


def install(engine: Engine) -> None:
    """Makes the triggers in a test's own database. Without a plan they do nothing."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_FUNCTIONS.replace("{locks}", str(LOCKS)))
        connection.exec_driver_sql(_POINT)
        for table, columns in COLUMNS.items():
            named = ", ".join(f"'{column}'" for column in columns)
            connection.exec_driver_sql(
                f"CREATE TRIGGER planned_to_fail BEFORE INSERT OR UPDATE ON {table}"
                f" FOR EACH ROW EXECUTE FUNCTION fails({named})"
            )
            connection.exec_driver_sql(
                f"CREATE TRIGGER planned_to_pause BEFORE INSERT ON {table}"
                f" FOR EACH ROW EXECUTE FUNCTION pauses({named})"
            )
            # Deferred: the effect is complete, the commit has begun and cannot end.
            connection.exec_driver_sql(
                f"CREATE CONSTRAINT TRIGGER planned_to_wait AFTER INSERT OR UPDATE ON {table}"
                f" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION waits({named})"
            )


class Trouble:
    """The first `times` tries to write this mark fail in the database."""

    def __init__(self, engine: Engine, mark: Mark, times: int) -> None:
        self._engine = engine
        self._id = _plan(engine, mark, "fail", times)

    @property
    def tries(self) -> int:
        """How many tries reached the mark, the first that passed included."""
        return int(value(self._engine, f"SELECT last_value FROM calls_{self._id} WHERE is_called") or 0)  # noqa: S608

    def lift(self) -> None:
        """From now on nothing fails."""
        run(self._engine, "UPDATE planned_faults SET times = 0 WHERE id = :id", id=self._id)


class Hold:
    """A statement or a commit that is being held: `pid` is the backend that waits."""

    def __init__(self, engine: Engine, fault_id: int) -> None:
        self._engine = engine
        self._id = fault_id
        self.pid = 0

    async def entered(self) -> None:
        """Waits until somebody is held."""
        await eventually(self._waits)

    async def left(self) -> None:
        """Waits until the held transaction is over."""
        await eventually(lambda: not self._in_transaction())

    def break_off(self) -> None:
        """Ends every backend that waits, and those that wait for one of them, as a next try does: none of them commits."""
        value(
            self._engine,
            "WITH RECURSIVE gone AS (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND (classid, objid) = (CAST(:locks AS oid), CAST(:id AS oid))"
            " UNION SELECT other.pid FROM pg_stat_activity AS other, gone WHERE gone.pid = ANY(pg_blocking_pids(other.pid)))"
            " SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 30000)) FROM gone",
            locks=LOCKS,
            id=self._id,
        )

    def _in_transaction(self) -> bool:
        return bool(
            value(
                self._engine,
                "SELECT true FROM pg_stat_activity WHERE pid = :pid AND xact_start IS NOT NULL",
                pid=self.pid,
            )
        )

    def _waits(self) -> bool:
        self.pid = (
            value(
                self._engine,
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND (classid, objid) = (CAST(:locks AS oid), CAST(:id AS oid))",
                locks=LOCKS,
                id=self._id,
            )
            or 0
        )
        return self.pid != 0


def held_commit(engine: Engine, mark: Mark) -> AbstractAsyncContextManager[Hold]:
    """Within it a transaction that writes this mark waits in its commit; afterwards it goes on, if it still lives."""
    return _held(engine, mark, "hold")


def held_row(engine: Engine, mark: Mark) -> AbstractAsyncContextManager[Hold]:
    """Within it a statement waits before it inserts this row, those before it written; afterwards it goes on."""
    return _held(engine, mark, "pause")


@asynccontextmanager
async def _held(engine: Engine, mark: Mark, what: str) -> AsyncGenerator[Hold]:
    fault_id = _plan(engine, mark, what)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:locks, :id)"), {"locks": LOCKS, "id": fault_id})
        connection.commit()
        try:
            yield Hold(engine, fault_id)
            run(engine, "DELETE FROM planned_faults WHERE id = :id", id=fault_id)
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:locks, :id)"), {"locks": LOCKS, "id": fault_id})
            connection.commit()


def is_there(engine: Engine, mark: Mark) -> bool:
    """Whether the effect is committed."""
    columns = COLUMNS[mark.table]
    wanted = " AND ".join(f"{column} = :v{number}" for number, column in enumerate(columns))
    values = {f"v{number}": value for number, value in enumerate((mark.owner, *mark.values))}
    return bool(value(engine, f"SELECT EXISTS (SELECT FROM {mark.table} WHERE {wanted})", **values))  # noqa: S608


def _plan(engine: Engine, mark: Mark, what: str, times: int = 0) -> int:
    with engine.begin() as connection:
        fault_id = connection.execute(
            text("INSERT INTO planned_faults (owner, point, what, times) VALUES (:owner, :point, :what, :times) RETURNING id"),
            {"owner": mark.owner, "point": mark.point, "what": what, "times": times},
        ).scalar_one()  # fmt: skip
        connection.exec_driver_sql(f"CREATE SEQUENCE calls_{fault_id}")
        return fault_id
