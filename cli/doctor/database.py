"""Checks of `coursaga doctor` in the database: its schema, outbox, secrets, time zones, loads, lessons on closed days."""

from __future__ import annotations

import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tzdata import IANA_VERSION

from cli.doctor.check import FINE, MAX_NAMED, NOT_RUNNING, UNREACHABLE, WRONG, Check
from db.closed_days import STRANDED, stranded_of
from db.engine import at_once, make_engine
from db.loads import WRONG as WRONG_LOADS
from db.migrate import MIGRATIONS
from db.sealing import Seal, SecretUnreadable
from domain.refusals import Refused
from domain.schedule import zone_named
from runtime.clock import clock
from runtime.settings import Settings

_MAX_EVENT_AGE = 60  # seconds; a relay needs less than one
_ZONES = "SELECT timezone FROM students WHERE timezone IS NOT NULL UNION SELECT timezone FROM trainers ORDER BY 1"
_OFFSETS = """
SELECT moment, (moment AT TIME ZONE %(zone)s) - (moment AT TIME ZONE 'UTC')
  FROM generate_series(date_trunc('day', now()), now() + interval '3 years', '1 week') AS moment
"""


def postgres(settings: Settings) -> list[Check]:
    """Check that the database answers and has the newest schema; if so, also its outbox, secrets, time zones and loads."""
    if settings.database_url is None:
        return [Check("postgresql", UNREACHABLE, "no database", NOT_RUNNING.format("DATABASE_URL"))]
    url = settings.database_url.get_secret_value().replace("+psycopg", "")
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            answers = Check("postgresql", FINE, f"server {connection.info.server_version // 10000}")
            schema = _schema(connection)
            of_data = (
                [_outbox(connection), _secrets(connection, settings), _zones(connection), _loads(connection)]
                if schema.state == FINE
                else []
            )
            return [answers, schema, *of_data]
    except psycopg.errors.InsufficientPrivilege as error:
        remedy = "ask as the role of the API, which may read all that is looked at, or as the owner"
        return [Check("postgresql", WRONG, str(error).strip(), remedy)]
    except psycopg.OperationalError as error:
        return [Check("postgresql", UNREACHABLE, str(error).strip(), "start it, or correct DATABASE_URL")]


def _schema(connection: psycopg.Connection) -> Check:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    newest = ScriptDirectory.from_config(config).get_current_head()
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        row = None
    here = row[0] if row else None
    if here == newest:
        return Check("schema", FINE, f"{here}, the newest")
    return Check("schema", WRONG, f"{here or 'empty'}, the newest is {newest}", "run `coursaga migrate`")


def _outbox(connection: psycopg.Connection) -> Check:
    query = "SELECT count(*), coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::int FROM outbox WHERE published_at IS NULL"
    row = connection.execute(query).fetchone()
    waiting, age = row or (0, 0)
    says = f"{waiting} events wait to be told, the oldest for {age} s"
    if age > _MAX_EVENT_AGE:
        return Check("outbox", WRONG, says, "start a relay with `coursaga relay`, or see why Kafka does not answer it")
    return Check("outbox", FINE, says)


def _secrets(connection: psycopg.Connection, settings: Settings) -> Check:
    """Check how secrets of webhook targets are stored, as far as the keys of this process can tell."""
    may = "SELECT has_column_privilege('webhook_targets', 'sealed_secret', 'SELECT')"
    if connection.execute(may).fetchone() != (True,):
        return Check("secrets", FINE, f"not for {connection.info.user} to read, only for a relay or the owner")
    query = "SELECT sealed_secret FROM webhook_targets WHERE removed_at IS NULL"
    stored = [row[0] for row in connection.execute(query).fetchall()]
    plain = stored.count(None)
    if settings.secrets_keys is None:
        return Check("secrets", FINE, f"{len(stored)} stored, {plain} of them not sealed; SECRETS_KEYS is not set here")
    seal, old, unreadable = Seal(settings.sealing_keys), 0, 0
    for sealed in stored:
        try:
            old += sealed is not None and bool(seal.open(sealed)) and not seal.is_newest(sealed)
        except SecretUnreadable:
            unreadable += 1
    if unreadable:
        remedy = "add the key they were sealed with to SECRETS_KEYS; or remove those targets and add them again"
        return Check("secrets", WRONG, f"{unreadable} of {len(stored)} are opened by no key of SECRETS_KEYS", remedy)
    if plain or old:
        says = f"{plain} of {len(stored)} are not sealed, {old} with an older key"
        return Check("secrets", WRONG, says, "a relay seals them within a minute: start one with `coursaga relay`")
    return Check("secrets", FINE, f"{len(stored)} stored, all sealed with the first key")


def _zones(connection: psycopg.Connection) -> Check:
    """Check that PostgreSQL shows the same local times as we do, in all zones in use, for three years."""
    differ: list[str] = []
    zones = [row[0] for row in connection.execute(_ZONES).fetchall()]
    for name in zones:
        try:
            ours = zone_named(name)
            with connection.transaction():
                told = connection.execute(_OFFSETS, {"zone": name}).fetchall()
        except (Refused, psycopg.errors.InvalidParameterValue):
            differ.append(f"{name!r} (not known to both)")
            continue
        for moment, theirs in told:
            if theirs != moment.astimezone(ours).utcoffset():
                differ.append(f"{name} (from {moment:%Y-%m-%d} on)")
                break
    if not differ:
        return Check("time zones", FINE, f"PostgreSQL agrees on {len(zones)} zones, tzdata {IANA_VERSION}")
    says = f"PostgreSQL's data differ from tzdata {IANA_VERSION}: {', '.join(differ[:MAX_NAMED])}"
    remedy = "lessons are right; update the database server's time zone data, so that queries by hand tell the same"
    return Check("time zones", WRONG, says, remedy)


def _loads(connection: psycopg.Connection) -> Check:
    """Check that the load kept with each trainer is what the slots of purchases say."""
    wrong = [row[0] for row in connection.execute(WRONG_LOADS).fetchall()]
    if not wrong:
        return Check("loads", FINE, "of all trainers what their slots say")
    says = f"{len(wrong)} trainers hold more or less than is kept with them: {', '.join(wrong[:MAX_NAMED])}"
    remedy = "the daily sweep mends them; until then others may be chosen before them. Somebody changed slots past the triggers"
    return Check("loads", WRONG, says, remedy)


def lessons(settings: Settings) -> list[Check]:
    """Check whether lessons to come are on a day that was closed since; return no check without a database."""
    if settings.database_url is None:
        return []
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with at_once(engine) as connection:
            asked = {"now": clock(settings)(), "purchase_id": None}
            found = stranded_of(connection.execute(text(STRANDED), asked))
    except DBAPIError:  # the checks of the database say why
        return []
    finally:
        engine.dispose()
    if not found:
        return [Check("lessons", FINE, "none to come on a closed day")]
    named = ", ".join(f"{each.number} of {each.purchase_id} ({each.why})" for each in found[:MAX_NAMED])
    remedy = (
        "they move by themselves where trainer and student are free, see `coursaga lessons`; else agree another time"
    )
    return [Check("lessons", WRONG, f"{len(found)} stand on a closed day: {named}", remedy)]
