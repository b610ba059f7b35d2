"""The schema: the tables say exactly what the migrations make, and the migrations run both ways."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from db.engine import make_engine
from db.migrate import MIGRATIONS, downgrade, upgrade
from db.reads.schema import newest_revision
from db.tables import METADATA
from tests import cluster

CONSTRAINTS = """
SELECT conrelid::regclass::text || ' ' || conname || ': ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 0
ORDER BY 1"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
COLUMNS = """
SELECT table_name || '.' || column_name || ': ' || data_type || ' ' || is_nullable || ' '
       || coalesce(column_default, '-') || ' ' || is_identity
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'purchases' ORDER BY 1"""
# What the tables cannot say: the migrations alone make them.
TRIGGERS = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, 1"
FUNCTIONS = """
SELECT proname || ': ' || prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
ORDER BY 1"""
VERSION_TABLE = "alembic_version"
RECORD = Path(__file__).with_name("schema.txt")


TABLES_SAY = {"constraints": CONSTRAINTS, "indexes": INDEXES, "columns": COLUMNS}
MIGRATIONS_MAKE = {**TABLES_SAY, "triggers": TRIGGERS, "functions": FUNCTIONS}


def described(database_url: str, queries: dict[str, str] = MIGRATIONS_MAKE) -> dict[str, list[str]]:
    engine = make_engine(database_url, pool_size=1)
    with engine.connect() as connection:
        found = {
            name: [line for line in connection.scalars(text(query)) if VERSION_TABLE not in line]
            for name, query in queries.items()
        }
    engine.dispose()
    return found


def test_the_tables_say_exactly_what_the_migrations_make(postgres: str, database_url: str) -> None:
    with cluster.empty_database(postgres) as url:
        engine = make_engine(url, pool_size=1)
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION btree_gist"))
            METADATA.create_all(connection)
        engine.dispose()
        assert described(url, TABLES_SAY) == described(database_url, TABLES_SAY)


def test_migrating_up_down_and_up_again_ends_with_the_same_schema(postgres: str, database_url: str) -> None:
    with cluster.empty_database(postgres) as url:
        upgrade(url)
        downgrade(url, "base")
        assert described(url) == {kind: [] for kind in MIGRATIONS_MAKE}
        upgrade(url)
        assert described(url) == described(database_url)


def test_the_definitions_are_the_ones_on_record(database_url: str) -> None:
    """Autogenerate misses edited CHECK and EXCLUDE: a change of the schema shows as a change of this file.

    To record it anew: UPDATE_SNAPSHOTS=1 pytest tests/db/test_schema.py
    """
    found = described(database_url)
    lines = "\n".join([*found["constraints"], "", *found["indexes"], "", *found["triggers"], ""])
    if os.environ.get("UPDATE_SNAPSHOTS"):
        RECORD.write_text(lines)
    assert lines == RECORD.read_text()


def test_migrating_twice_at_once_runs_each_migration_once(postgres: str) -> None:
    with cluster.empty_database(postgres) as url, ThreadPoolExecutor(4) as threads:
        list(threads.map(upgrade, [url] * 4))
        engine = make_engine(url, pool_size=1)
        with engine.connect() as connection:
            assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [newest_revision()]
        engine.dispose()


def test_there_is_one_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
