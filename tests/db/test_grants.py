"""Each process has its own role in the database: exactly what `db.grants` says, and PostgreSQL says no to the rest."""

from __future__ import annotations

import re
from collections.abc import Generator

import psycopg.errors as pg
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from db.engine import make_engine
from db.grants import API, CONSUMER, GRANTS, RELAY, ROLES, WORKER
from db.migrate import upgrade
from tests import build, cluster
from tests.roles import as_role

Privilege = tuple[str, str, str, str | None]  # table, role, what, which column
WHOLE = """
SELECT class.relname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type,
       NULL AS column_name
FROM pg_class AS class, aclexplode(class.relacl)
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND grantee <> class.relowner
UNION ALL
SELECT class.relname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type, attname
FROM pg_class AS class JOIN pg_attribute ON attrelid = class.oid, aclexplode(attacl)
WHERE relnamespace = 'public'::regnamespace AND grantee <> class.relowner"""
TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"""
FUNCTIONS = """
SELECT proname, role FROM pg_proc, unnest(CAST(:roles AS text[])) AS role
WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(role, pg_proc.oid, 'EXECUTE')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e')"""
ATTRIBUTES = """
SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
       EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
FROM pg_roles WHERE rolname = ANY(:roles)"""
ONLY_ADDED_TO = ("operator_acts", "operator_decisions", "coin_movements", "purchase_requests", "dead_letter_acts")
NOBODYS = (
    "DROP TRIGGER only_added_to ON operator_acts",
    "ALTER TABLE operator_acts DISABLE TRIGGER only_added_to",
    "ALTER TABLE students ADD COLUMN mine text",
    "CREATE TRIGGER mine BEFORE INSERT ON operator_acts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER FUNCTION refuse_change() OWNER TO CURRENT_USER",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP TABLE operator_acts",
    "CREATE INDEX mine ON operator_acts (actor)",
    "CREATE TABLE mine (id integer)",
    "CREATE TEMPORARY TABLE mine (id integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "DROP EXTENSION btree_gist",
    "SET session_replication_role = replica",
    "SET ROLE pg_read_all_data",
    "CREATE ROLE mine",
    "SELECT email FROM students",
    "SELECT tell_progress('purchase-1', 'ended', '{}')",
    "UPDATE alembic_version SET version_num = '0000'",
    "UPDATE coin_balances SET coins = 1000",
    "INSERT INTO slot_history OVERRIDING SYSTEM VALUE SELECT * FROM slot_history",
    "INSERT INTO purchase_progress SELECT * FROM purchase_progress",
    "DELETE FROM purchase_starts",
    "DELETE FROM student_course_purchases",
    "UPDATE payments SET amount_minor = 0",
    "UPDATE payment_lines SET amount_minor = 0",
    "UPDATE catalogue_items SET price_minor = 0",
    "UPDATE students SET coins_opening = 1000",
    "UPDATE webhook_targets SET url = 'https://elsewhere.example'",
    *(f"TRUNCATE {table} CASCADE" for table in ("operator_acts", "outbox", "students")),
    *(f"DELETE FROM {table}" for table in ONLY_ADDED_TO),  # noqa: S608 -- names of tables
    *(f"UPDATE {table} SET reason = 'another'" for table in ONLY_ADDED_TO),  # noqa: S608 -- names of tables
)  # fmt: skip
SOMEBODY_ELSES = {
    API: (
        "SELECT secret FROM webhook_targets",
        "SELECT sealed_secret FROM webhook_targets",
        "SELECT * FROM webhook_targets",
        "INSERT INTO operator_acts SELECT * FROM operator_acts",
        "INSERT INTO operator_decisions SELECT * FROM operator_decisions",
        "INSERT INTO outbox (key, type, data, occurred_at) VALUES ('a:B', 'B', '{}', now())",
        "UPDATE outbox SET published_at = now()",
        "INSERT INTO refunds SELECT * FROM refunds",
        "UPDATE purchase_steps SET state = 'undone'",
        "INSERT INTO students (id, name, coins_opening) VALUES ('mine', 'mine', 1000)",
    ),
    WORKER: (
        "SELECT secret FROM webhook_targets",
        "SELECT sealed_secret FROM webhook_targets",
        "SELECT token_hash FROM calendar_links",
        "SELECT request_hash FROM idempotency_keys",
        "SELECT detail FROM dead_letters",
        "UPDATE outbox SET data = '{}'",
        "INSERT INTO payments SELECT * FROM payments",
        "INSERT INTO purchase_starts SELECT * FROM purchase_starts",
    ),
    RELAY: (
        "SELECT FROM students",
        "SELECT FROM payments",
        "SELECT FROM purchase_starts",
        "SELECT FROM calendar_links",
        "UPDATE outbox SET data = '{}'",
        "DELETE FROM outbox",
        "INSERT INTO outbox (key, type, data, occurred_at) VALUES ('a:B', 'B', '{}', now())",
        "UPDATE webhook_targets SET removed_at = NULL",
    ),
    CONSUMER: (
        "SELECT secret FROM webhook_targets",
        "SELECT sealed_secret FROM webhook_targets",
        "SELECT FROM students",
        "SELECT payload FROM dead_letters",
        "SELECT FROM calendar_links",
        "INSERT INTO payments SELECT * FROM payments",
        "SELECT FROM student_course_purchases",
        "DELETE FROM taken_events",
    ),
}
REFUSED = [(role, statement) for role in ROLES for statement in (*NOBODYS, *SOMEBODY_ELSES[role])]


@pytest.fixture(scope="module")
def owner(postgres: str) -> Generator[Engine]:
    """A database that was migrated twice; what holds of the database itself does not come with the template."""
    with cluster.database(postgres) as url:
        assert upgrade(url) == list(ROLES)
        engine = make_engine(url, pool_size=1)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def processes(owner: Engine) -> Generator[dict[str, Engine]]:
    url = owner.url.render_as_string(hide_password=False)
    engines = {role: make_engine(as_role(role, url), pool_size=1) for role in ROLES}
    yield engines
    for engine in engines.values():
        engine.dispose()


def told() -> set[Privilege]:
    """The table of the code, one privilege a row."""
    found: set[Privilege] = set()
    for table, may in GRANTS.items():
        for role, said in zip(ROLES, may, strict=True):
            for what, columns in re.findall(r"([A-Z]+)(?: \(([^)]*)\))?", said):
                found |= {(table, role, what, column or None) for column in columns.split(", ")}
    return found


def granted(owner: Engine) -> set[Privilege]:
    """What PostgreSQL says everybody but the owner has."""
    return {tuple(row) for row in build.rows(owner, WHOLE)}


def test_every_table_is_decided_upon(owner: Engine) -> None:
    assert {row.relname for row in build.rows(owner, TABLES)} == GRANTS.keys()


def test_the_catalogue_says_exactly_what_the_code_says(owner: Engine) -> None:
    assert granted(owner) == told()


def test_nobody_calls_a_function_of_ours(owner: Engine) -> None:
    assert build.rows(owner, FUNCTIONS, roles=list(ROLES)) == []


def test_no_role_is_more_than_a_role(owner: Engine) -> None:
    found = build.rows(owner, ATTRIBUTES, roles=list(ROLES))
    assert {row[0]: any(row[1:]) for row in found} == dict.fromkeys(ROLES, False)


def test_what_is_not_granted_any_more_is_taken_back(owner: Engine) -> None:
    for more in (
        f"DELETE ON operator_acts TO {API}", f"UPDATE (data) ON outbox TO {RELAY}", "SELECT ON students TO PUBLIC",
        f"CREATE ON SCHEMA public TO {WORKER}", f"TEMPORARY ON DATABASE {owner.url.database} TO PUBLIC",
    ):  # fmt: skip
        build.run(owner, f"GRANT {more}")
    assert granted(owner) != told()
    upgrade(owner.url.render_as_string(hide_password=False))
    assert granted(owner) == told()
    has = "SELECT has_schema_privilege(:role, 'public', 'CREATE') OR has_database_privilege(:role, current_database(), 'TEMP')"
    assert [build.value(owner, has, role=role) for role in ROLES] == [False] * len(ROLES)


@pytest.mark.parametrize(("role", "statement"), REFUSED)
def test_postgresql_refuses(role: str, statement: str, processes: dict[str, Engine]) -> None:
    with pytest.raises(ProgrammingError) as refused, processes[role].begin() as connection:
        connection.exec_driver_sql(statement)
    assert isinstance(refused.value.orig, pg.InsufficientPrivilege), refused.value  # SQLSTATE 42501
