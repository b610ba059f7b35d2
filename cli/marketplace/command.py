"""`coursaga import FILE`: load a marketplace file into the database, its payments to the provider (spec section 9)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from json import dumps
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from cli.api_client import ApiRefused, ApiUnreachable, open_api
from cli.identity import NoToken
from cli.marketplace.documents import documents
from cli.marketplace.file_format import Marketplace, Payment
from cli.marketplace.validation import BadMarketplace, Fault, open_references, read_marketplace, warnings
from cli.output import Terminal
from db.engine import make_engine
from db.marketplace import Difference, Stored, store, unknown
from gateways.payments import (
    HttpPaymentProvider,
    PaymentProvider,
    ProviderLine,
    ProviderPayment,
    ProviderRefused,
    ProviderTrouble,
)
from runtime.clock import clock
from runtime.errors import CannotRun, ServerUnreachable
from runtime.settings import Settings, load_settings
from runtime.state import attached

_SHOWN = 20  # differences, warnings and faults on a terminal; --json has them all
_PATIENCE_MS = 120_000

Update = Annotated[
    bool, Parameter(name="--update", negative=(), help="Make catalogue, trainers and profiles as the file says.")
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON object: what was done, or faults.")]


class NoSuchFile(CannotRun):
    """The file named on the command line cannot be read."""

    exit_code = 2


@dataclass(frozen=True)
class Imported:
    """What an import did: counts by kind; `differences` were left alone, `warnings` are sentences."""

    inserted: dict[str, int]
    updated: dict[str, int]
    differences: list[Difference]
    warnings: list[str]


async def import_marketplace(file: Path, *, update: Update = False, json: Json = False) -> None:
    """Load a marketplace file: insert what is absent, list what differs. Safe to repeat.

    Parameters
    ----------
    file
        A marketplace file, version 1.
    """
    try:
        imported = await run_import(file, attached(load_settings()), update=update, show=not json, wake=_wake)
    except BadMarketplace as bad:
        _say_faults(bad, json)
        raise SystemExit(1) from None
    if json:
        sys.stdout.write(dumps(asdict(imported), indent=2) + "\n")
    else:
        _say(imported)


async def _wake() -> None:
    """Ask the API to try purchases that wait for this data at once.

    Without an API they go on by themselves, after a pause.
    """
    with suppress(ApiUnreachable, ApiRefused, NoToken):
        async with open_api() as api:
            await api.post("/api/v1/admin/purchases:wake", {})


async def run_import(
    file: Path,
    settings: Settings,
    *,
    update: bool = False,
    show: bool = False,
    wake: Callable[[], Awaitable[object]] | None = None,
) -> Imported:
    """Import a file into the servers of the settings; `wake` is awaited once all is committed, to heal what waits.

    Raises BadMarketplace (nothing is stored), NoSuchFile, ServerUnreachable (import again: what is there stays).
    """
    try:
        content = await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        raise NoSuchFile(f"cannot read {file}: {error.strerror}") from error
    market = read_marketplace(content)
    if settings.database_url is None or settings.provider_url is None:
        raise ServerUnreachable("no running stack is found: start one with `coursaga up`, or set DATABASE_URL")
    engine = make_engine(
        settings.database_url.get_secret_value(),
        pool_size=1,
        lock_timeout_ms=_PATIENCE_MS,
        statement_timeout_ms=_PATIENCE_MS,
    )
    try:
        stored = await asyncio.to_thread(store_marketplace, engine, market, update=update, now=clock(settings)())
    finally:
        engine.dispose()
    try:
        with HttpPaymentProvider(settings.provider_url) as provider:
            created = await asyncio.to_thread(create_payments, provider, market.payments, stored, show=show)
    finally:
        if wake is not None:
            await wake()
    inserted = {kind: len(keys) for kind, keys in stored.inserted.items()} | {"providerPayments": created}
    updated = {kind: len(keys) for kind, keys in stored.updated.items()}
    return Imported(inserted, updated, stored.differences, warnings(market))


def store_marketplace(engine: Engine, market: Marketplace, *, update: bool, now: datetime) -> Stored:
    """Store all of a file in one transaction.

    Raises BadMarketplace when it names what neither it nor the database has.
    """
    named = open_references(market)
    students = [name.key for name in named if name.kind == "student"]
    items = [name.key for name in named if name.kind != "student"]
    try:
        with engine.begin() as connection:
            missing = unknown(connection, students=students, items=items)
            if faults := [Fault(n.path, f"no such {n.kind}: {n.key!a}") for n in named if n.key in missing]:
                raise BadMarketplace(faults)
            return store(connection, documents(market), update=update, now=now)
    except (OperationalError, InterfaceError) as error:
        raise ServerUnreachable("the database does not answer; it is safe to import again") from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == "42P01":  # no such table
            raise CannotRun("the database has no tables yet: run `coursaga migrate`") from error
        if getattr(error.orig, "sqlstate", None) == "42501":  # no process is allowed to write all of it
            raise CannotRun(
                f"{engine.url.username} may not import ({error.orig}): DATABASE_URL must be that of the owner of the tables"
            ) from error
        raise


def create_payments(provider: PaymentProvider, payments: list[Payment], stored: Stored, *, show: bool) -> int:
    """Create every payment at the provider under its own id; return how many were new.

    Differences are added to `stored`.

    Raises ServerUnreachable.
    """

    def create(payment: Payment) -> bool:
        try:
            return provider.create(_at_provider(payment))
        except ProviderRefused as refusal:
            stored.differences.append(Difference("providerPayments", payment.id, "", refusal.code, "payment"))
            return False

    terminal = Terminal(stderr=True)
    with ThreadPoolExecutor(4) as pool:
        try:
            made = pool.map(create, payments)
            quiet = not show or not terminal.is_terminal
            return sum(track(made, "payments to the provider", len(payments), console=terminal, disable=quiet))
        except ProviderTrouble as trouble:
            pool.shutdown(cancel_futures=True)
            message = f"the marketplace is stored, but {trouble}; it is safe to import again"
            raise ServerUnreachable(message) from trouble


def _at_provider(payment: Payment) -> ProviderPayment:
    """Return the payment as the provider keeps it. Of a refunded payment everything was given back; of a partly
    refunded one it is not known what, so nothing counts as given back."""
    whole = payment.status == "refunded"
    lines = [
        ProviderLine(line.line, line.amount_minor, line.amount_minor if whole else 0)
        for line in sorted(payment.lines, key=lambda line: line.line)
    ]
    return ProviderPayment(
        payment.id, payment.student_id, payment.status, payment.amount_minor, payment.currency, tuple(lines)
    )


def _say(imported: Imported) -> None:
    console = Terminal()
    table = Table("", "inserted", "updated")
    for kind, inserted in imported.inserted.items():
        table.add_row(kind, str(inserted), str(imported.updated.get(kind, 0)))
    console.print(table)
    differences = [
        f"{one.kind} {one.key} {one.field}: stored {one.stored!r:.60}, file {one.file!r:.60}".replace(" :", ":")
        for one in imported.differences
    ]
    _say_lines(console, "differ and were left alone", differences)
    _say_lines(console, "warnings", imported.warnings)


def _say_faults(bad: BadMarketplace, json: bool) -> None:
    if json:
        faults = [asdict(fault) for fault in bad.faults]
        sys.stdout.write(dumps({"error": "BAD_MARKETPLACE", "faults": faults}, indent=2) + "\n")
    else:
        faults = [f"{fault.path}: {fault.message}" for fault in bad.faults]
        _say_lines(Terminal(stderr=True), "faults; nothing was imported", faults)


def _say_lines(console: Console, title: str, lines: list[str]) -> None:
    if lines:
        console.print(f"[bold]{len(lines)} {title}[/bold]")
    for line in lines[:_SHOWN]:
        console.print(escape(f"  {line}"), highlight=False, soft_wrap=True)
    if len(lines) > _SHOWN:
        console.print(f"  ... and {len(lines) - _SHOWN} more, see --json")
