"""Open what the doors of a process work with from its settings, and close it afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from application.context import Services
from application.rate_limit import Pace
from db.engine import make_async_engine
from db.sealing import Seal
from gateways.payments import HttpPaymentProvider, PaymentProvider
from runtime.clock import clock
from runtime.errors import ServerUnreachable
from runtime.settings import Settings
from runtime.temporal import connect
from workflows.policies import Rules

_PROVIDER_SECONDS = 5
_PROVIDER_CALLS = 16  # at a time
_POOL = 12  # connections to read, and as many to write; a request holds one only while it asks the database


@asynccontextmanager
async def open_services(
    settings: Settings, provider: PaymentProvider | None = None, seal: Seal | None = None
) -> AsyncGenerator[Services]:
    """Open the Services of a process and close them afterwards. Raises ServerUnreachable without DATABASE_URL."""
    if settings.database_url is None:
        raise ServerUnreachable("no database: DATABASE_URL is not set and no stack runs (`coursaga up`)")
    url = settings.database_url.get_secret_value()
    engine, readers = (make_async_engine(url, pool_size=_POOL, read_only=reads) for reads in (False, True))
    http = provider_of(settings) if provider is None else None
    asking = ThreadPoolExecutor(_PROVIDER_CALLS, thread_name_prefix="provider")
    try:
        yield Services(
            engine=engine,
            readers=readers,
            temporal=await connect(settings, lazy=True),
            task_queue=settings.task_queue,
            rules=rules_of(settings),
            temporal_ui_url=settings.temporal_ui_url,
            clock=clock(settings),
            provider=provider or http,
            asking=asking,
            slot_hold=settings.slot_hold,
            pace=Pace(settings.bulk_acts_per_second),
            private_webhooks=settings.webhook_private_addresses,
            seal=seal or Seal(()),
        )
    finally:
        asking.shutdown(wait=False, cancel_futures=True)
        if http is not None:
            http.close()
        await engine.dispose()
        await readers.dispose()


def provider_of(settings: Settings) -> HttpPaymentProvider | None:
    """Return a client of PROVIDER_URL, None if that is not set. Checkout asks twice at most while its key is taken."""
    if settings.provider_url is None:
        return None
    return HttpPaymentProvider(settings.provider_url, timeout=_PROVIDER_SECONDS)


def rules_of(settings: Settings) -> Rules:
    """Return the rules in force (times in seconds), which a start copies into its input."""
    return Rules(
        lane=settings.lanes,
        gate_deadline=settings.gate_deadline.total_seconds(),
        repair_deadline=settings.repair_deadline.total_seconds() if settings.repair_deadline else 0.0,
        pending_deadline=settings.payment_pending_deadline.total_seconds(),
        escalate_after=settings.attention_escalate_after.total_seconds(),
        two_person_limit=settings.two_person_limit,
    )
