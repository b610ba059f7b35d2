"""What `coursaga doctor` looks at: each check says how things stand, and what to do when they do not."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError
from tzdata import IANA_VERSION

from db.engine import at_once, make_engine
from db.migrate import MIGRATIONS
from db.sealing import Seal, SecretUnreadable
from db.stranded import STRANDED, stranded_of
from domain.refusals import Refused
from domain.schedule import zone_named
from gateways.task_queue import polling
from runtime.child_processes import identity
from runtime.clock import clock
from runtime.embedded.temporal_binary import REMEDIES, locate, server_version
from runtime.settings import Settings
from runtime.state import find
from runtime.temporal import RPC, TemporalUnreachable, attribute_gaps, connect
from workflows.attributes import REPORTED_PROBLEMS

FINE, WRONG, UNREACHABLE = "fine", "wrong", "unreachable"
_MOST_NAMED = 10  # runs, zones
_OLD_EVENT = 60  # seconds; a relay needs less than one
_ZONES = "SELECT timezone FROM students WHERE timezone IS NOT NULL UNION SELECT timezone FROM trainers ORDER BY 1"
_OFFSETS = """
SELECT moment, (moment AT TIME ZONE %(zone)s) - (moment AT TIME ZONE 'UTC')
  FROM generate_series(date_trunc('day', now()), now() + interval '3 years', '1 week') AS moment
"""
_NOT_RUNNING = "start everything with `coursaga up`, or set {}"


@dataclass(frozen=True)
class Check:
    """One thing looked at. `state`: fine, wrong or unreachable; `remedy` is empty when it is fine."""

    name: str
    state: str
    says: str
    remedy: str = ""

    def report(self) -> dict[str, str]:
        """As JSON."""
        return asdict(self)


async def all_checks(settings: Settings) -> list[Check]:
    """Every check, in the order in which things depend on each other; the settings are attached to the stack."""
    return [
        python(),
        temporal_program(settings),
        *postgres(settings),
        *lessons(settings),
        *await temporal(settings),
        provider(settings),
        api(settings),
        relay(settings),
    ]


def python() -> Check:
    """The interpreter; the package installs on Python 3.11 and later only."""
    return Check("python", FINE, f"{platform.python_version()}, {sys.executable}")


def api(settings: Settings) -> Check:
    """Whether the API answers and is ready: where API_URL says, or where the stack of this home has it."""
    running = find(settings.coursaga_home)
    url = settings.api_url or (running.api if running else None)
    if url is None:
        return Check("api", UNREACHABLE, "no API", _NOT_RUNNING.format("API_URL"))
    try:
        with urlopen(f"{url.rstrip('/')}/readyz", timeout=5):
            return Check("api", FINE, f"{url} is ready")
    except HTTPError as error:
        return Check(
            "api", WRONG, f"{url} answers {error.code}", "see the other checks: it names what it lacks at /readyz"
        )
    except (URLError, OSError, ValueError) as error:
        return Check(
            "api", UNREACHABLE, f"{url} does not answer ({type(error).__name__})", "start it with `coursaga api`"
        )


def relay(settings: Settings) -> Check:
    """Whether the relay of this home's stack lives; how any relay does is told by the outbox."""
    running = find(settings.coursaga_home)
    pid = running.pids.get("relay") if running else None
    if pid is None:
        return Check("relay", FINE, "none of this home's stack; the outbox says whether one tells events")
    if identity(pid) is None:
        return Check(
            "relay",
            WRONG,
            f"process {pid} is gone",
            "stop the stack and start it again: `coursaga down`, `coursaga up`",
        )
    return Check("relay", FINE, f"process {pid}")


def temporal_program(settings: Settings) -> Check:
    """The program of an embedded Temporal server; needless when a server is named or runs."""
    if settings.temporal_address:
        return Check("temporal program", FINE, "not needed, a server is named or runs")
    if found := locate():
        return Check("temporal program", FINE, f"{found} (server {server_version(found)})")
    return Check("temporal program", WRONG, "not installed, none on PATH", REMEDIES)


def postgres(settings: Settings) -> list[Check]:
    """Whether the database answers and has the newest schema."""
    if settings.database_url is None:
        return [Check("postgresql", UNREACHABLE, "no database", _NOT_RUNNING.format("DATABASE_URL"))]
    url = settings.database_url.get_secret_value().replace("+psycopg", "")
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            answers = Check("postgresql", FINE, f"server {connection.info.server_version // 10000}")
            schema = _schema(connection)
            of_data = (
                [_outbox(connection), _secrets(connection, settings), _zones(connection)]
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
    if age > _OLD_EVENT:
        return Check("outbox", WRONG, says, "start a relay with `coursaga relay`, or see why Kafka does not answer it")
    return Check("outbox", FINE, says)


def _secrets(connection: psycopg.Connection, settings: Settings) -> Check:
    """How secrets of webhook targets are stored, as far as the keys this process has can tell."""
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
    """Whether PostgreSQL would show the same local times as we do, in the zones people live in, for three years to come."""
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
    says = f"PostgreSQL's data differ from tzdata {IANA_VERSION}: {', '.join(differ[:_MOST_NAMED])}"
    remedy = "lessons are right; update the database server's time zone data, so that queries by hand tell the same"
    return Check("time zones", WRONG, says, remedy)


def lessons(settings: Settings) -> list[Check]:
    """Whether lessons to come stand on a day that was closed since; nothing to say without a database."""
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
    named = ", ".join(f"{each.number} of {each.purchase_id} ({each.why})" for each in found[:_MOST_NAMED])
    remedy = (
        "they move by themselves where trainer and student are free, see `coursaga lessons`; else agree another time"
    )
    return [Check("lessons", WRONG, f"{len(found)} stand on a closed day: {named}", remedy)]


async def temporal(settings: Settings) -> list[Check]:
    """Whether the server answers, knows our search attributes, and has a worker polling the task queue."""
    try:
        client = await connect(settings, seconds=5)
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC)
        server = f"{settings.temporal_address}, server {info.server_version}, namespace {client.namespace}"
        return [
            Check("temporal", FINE, server),
            await _attributes(client),
            await pollers(client, settings.task_queue),
            await _problems(client),
            await _paused(client),
        ]
    except (TemporalUnreachable, RPCError) as error:
        return [Check("temporal", UNREACHABLE, str(error), _NOT_RUNNING.format("TEMPORAL_ADDRESS"))]


async def _attributes(client: Client) -> Check:
    gaps = await attribute_gaps(client)
    if not gaps.absent and not gaps.wrong:
        return Check("search attributes", FINE, "all there, of the right types")
    remedy = "make them with `temporal operator search-attribute create`, as docker-compose.yml does"
    return Check("search attributes", WRONG, f"absent: {gaps.absent}, of another type: {gaps.wrong}", remedy)


async def pollers(client: Client, task_queue: str) -> Check:
    seen = await polling(client, task_queue, RPC)
    if seen.served:
        return Check(
            "workers", FINE, f"{len(seen.workers[seen.current])} polled {task_queue!r} lately ({seen.current})"
        )
    if not seen.workers:
        return Check("workers", WRONG, f"nobody polls {task_queue!r}", "start one with `coursaga worker`")
    remedy = "run `coursaga release` with the code of those workers, or start workers of the current build"
    return Check("workers", WRONG, f"of {task_queue!r} {seen.fault}", remedy)


async def _problems(client: Client) -> Check:
    """Runs whose workflow tasks keep failing: nothing of theirs is lost or undone, and no operator can help."""
    query = f"{REPORTED_PROBLEMS.name} IS NOT NULL AND ExecutionStatus = 'Running'"
    count = (await client.count_workflows(query, rpc_timeout=RPC)).count
    if not count:
        return Check("workflow code", FINE, "no run reports a problem")
    ids = [run.id async for run in client.list_workflows(query, limit=_MOST_NAMED, rpc_timeout=RPC)]
    remedy = "an engineer is needed: deploy a worker with a fix, they go on by themselves"
    return Check("workflow code", WRONG, f"{count} runs fail in our code: {', '.join(ids)}", remedy)


async def _paused(client: Client) -> Check:
    """Runs of any kind that somebody paused: purchases, ends of access, holds, sweeps; none goes on by itself."""
    query = "ExecutionStatus = 'Paused'"
    count = (await client.count_workflows(query, rpc_timeout=RPC)).count
    if not count:
        return Check("paused runs", FINE, "none")
    remedy = f'see `temporal workflow list --query "{query}"`; each goes on after `temporal workflow unpause`'
    return Check("paused runs", WRONG, f"{count} are paused by hand", remedy)


def provider(settings: Settings) -> Check:
    """Whether the payment provider answers at all."""
    if settings.provider_url is None:
        return Check("payment provider", UNREACHABLE, "no provider", _NOT_RUNNING.format("PROVIDER_URL"))
    try:
        with urlopen(settings.provider_url, timeout=5):
            pass
    except HTTPError:
        pass  # an answer, whatever it says of this path
    except (URLError, OSError) as error:
        says = f"{settings.provider_url}: {error}"
        return Check("payment provider", UNREACHABLE, says, "start it, or correct PROVIDER_URL")
    return Check("payment provider", FINE, settings.provider_url)
