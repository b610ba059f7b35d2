"""The API process: `uvicorn --factory api.app:create_app`, or `python -m api.app` on the settings' host and port.

Importing opens nothing. It boots without PostgreSQL and without Temporal, says so at /readyz, and uses them once they
are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from api import act_list, admin_list, bulk, case, health, metrics, people, purchases, verbs
from api.body_limit import BodyLimit
from api.pace import Pace
from api.problems import add_problems
from api.services import Services
from db.engine import make_async_engine
from runtime.errors import CannotRun
from runtime.logs import set_up_logs
from runtime.settings import Settings, load_settings
from runtime.state import attached
from runtime.temporal import connect
from workflows.policies import Rules

MOST_BODY = 64 * 1024  # bytes
_POOL = 20  # connections; a request holds one only while it asks the database

_ABOUT = """The durable back office of a course marketplace: one workflow per payment line carries a payment to lessons,
or makes the student whole. Errors are problems (RFC 9457) with a stable `code`; `retryable` says whether the same
request may succeed later. Times are UTC unless called local."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Without `settings` they are those of the environment and the running stack."""
    with_values = settings or attached(load_settings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        if with_values.database_url is None:
            raise CannotRun("no database: DATABASE_URL is not set and no stack runs (`coursaga up`)")
        engine = make_async_engine(with_values.database_url.get_secret_value(), pool_size=_POOL)
        try:
            app.state.services = services = Services(
                engine=engine,
                temporal=await connect(with_values, lazy=True),
                task_queue=with_values.task_queue,
                rules=rules_of(with_values),
                temporal_ui_url=with_values.temporal_ui_url,
                pace=Pace(with_values.bulk_acts_per_second),
            )
            yield
            await _settle(services.tasks)
        finally:
            await engine.dispose()

    app = FastAPI(title="Coursaga", description=_ABOUT, version="1", lifespan=lifespan, redirect_slashes=False)
    app.add_middleware(BodyLimit, limit=MOST_BODY)
    add_problems(app)
    # Before the verbs, whose `{purchase}/{verb}` would take other paths under /admin for theirs.
    for part in (health, metrics, purchases, admin_list, bulk, case, act_list, people, verbs):
        app.include_router(part.router)
    return app


def rules_of(settings: Settings) -> Rules:
    """The rules in force, which a start copies into its input."""
    return Rules(
        gate_deadline=settings.gate_deadline.total_seconds(),
        repair_deadline=settings.repair_deadline.total_seconds() if settings.repair_deadline else 0.0,
        pending_deadline=settings.payment_pending_deadline.total_seconds(),
        escalate_after=settings.attention_escalate_after.total_seconds(),
        two_person_limit=settings.two_person_limit,
    )


async def _settle(tasks: set[asyncio.Task[None]]) -> None:
    """Sweeps under way are dropped: the purchases they would wake try again by themselves."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = attached(load_settings())
    set_up_logs(settings.log_level, settings.log_format)
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
