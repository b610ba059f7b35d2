"""The API process: `uvicorn --factory api.app:create_app`, or `python -m api.app` on the settings' host and port.

Importing opens nothing. It boots without PostgreSQL and Temporal, says so at /readyz, and uses them once they answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import Depends, FastAPI, Security
from fastapi.routing import APIRoute
from limits import parse

from api.checkout.cart import router as cart
from api.checkout.catalogue import router as catalogue
from api.checkout.checkout import router as checkout
from api.checkout.preflight import router as preflight
from api.checkout.slot_holds import router as holds
from api.events.dead_letters import router as dead_letters
from api.events.events_in import router as events
from api.events.outbox_and_webhooks import router as outbox
from api.http.admission import Admission, Rates
from api.http.answers import Answers
from api.http.auth import BEARER, Authenticate, permitted
from api.http.body_limit import BodyLimit
from api.http.documentation import add_documentation, add_pages_of_problems, documented
from api.http.health import router as health
from api.http.metrics import router as metrics
from api.http.paths import WholeSegments
from api.http.problems import Unauthenticated, add_problems, problems
from api.http.server import PunctualProtocol
from api.http.strict_requests import well_said
from api.http.tokens import Tokens, Trusted
from api.http.who_may_call import public_paths, require_rows
from api.lessons.calendar_links import public as public_calendar
from api.lessons.calendar_links import router as calendar_links
from api.lessons.changes import router as lesson_changes
from api.lessons.lessons import router as lessons
from api.mock_tests.legacy_tests import router as old_tests
from api.mock_tests.test_cards import router as student_tests
from api.operators.audit import router as act_list
from api.operators.auto_assign import router as auto_assign
from api.operators.bulk import router as bulk
from api.operators.case import router as case
from api.operators.extend_access import router as extending
from api.operators.matching import router as matching
from api.operators.verbs import router as verbs
from api.people.coins import router as coins
from api.people.profiles import router as people
from api.purchases.free import router as free
from api.purchases.list import router as admin_list
from api.purchases.progress_stream import router as progress
from api.purchases.purchases import router as purchases
from application.errors import Forbidden, TooManyRequests
from application.request_turns import Turns
from application.wiring import open_services
from db.sealing import Seal
from gateways.payments import PaymentProvider
from runtime.dev_auth import dev_key, kid_of
from runtime.errors import CannotRun, ServerUnreachable
from runtime.jwks import signing_keys
from runtime.leaving import leave
from runtime.logs import set_up_logs
from runtime.settings import DEV_ISSUER, Settings, load_settings
from runtime.state import attached

MAX_BODY = 64 * 1024  # bytes
BODY_SECONDS = 10.0

_ABOUT = """The durable back office of a course marketplace: one workflow per payment line carries a payment to lessons,
or makes the student whole. Who calls says so with a bearer token. Errors are problems (RFC 9457) with a stable `code`; `retryable` says whether the same
request may succeed later. Times are UTC unless called local. Where there is GET there is HEAD."""

# Whoever calls these says who it is. The verbs last: their `{purchase}/{verb}` would take other paths under /admin for theirs.
_GUARDED = (
    purchases,
    free,
    auto_assign,
    progress,
    events,
    dead_letters,
    outbox,
    admin_list,
    bulk,
    case,
    matching,
    act_list,
    people,
    coins,
    catalogue,
    cart,
    checkout,
    preflight,
    student_tests,
    old_tests,
    extending,
    holds,
    lessons,
    calendar_links,
    lesson_changes,
    verbs,
)


def create_app(settings: Settings | None = None, provider: PaymentProvider | None = None) -> FastAPI:
    """Return the application. Without `settings` they are those of the environment and the running stack.

    Without `provider` it is the one at PROVIDER_URL. Raises SettingsError when a setting that it needs is missing.
    """
    settings = settings or attached(load_settings())
    _ = settings.sealing_keys  # production does not boot without; the lifespan would say so too late
    app = FastAPI(
        title="Coursaga",
        description=_ABOUT,
        version="1",
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.shows_docs else None,
        generate_unique_id_function=_operation,
        dependencies=[Depends(permitted), Depends(well_said)],
    )
    app.state.settings, app.state.provider = settings, provider
    if settings.shows_docs:
        add_documentation(app)
    add_pages_of_problems(app)
    add_problems(app, permitted)
    for router in (health, metrics, public_calendar):
        app.include_router(router)
    for part in _GUARDED:
        app.include_router(
            part,
            dependencies=[Security(BEARER)],
            responses=problems(Unauthenticated, Forbidden, TooManyRequests),
        )
    app.openapi = documented(app)
    require_rows(app)
    app.add_middleware(Admission)
    app.add_middleware(Authenticate, public=public_paths(app))
    app.add_middleware(BodyLimit, limit=MAX_BODY, seconds=BODY_SECONDS)
    app.add_middleware(WholeSegments)
    app.add_middleware(Answers)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    settings: Settings = app.state.settings
    app.state.tokens = tokens_of(settings)
    app.state.turns, app.state.rates = Turns(settings.api_work_at_once), rates_of(settings)
    async with open_services(settings, app.state.provider, Seal(settings.sealing_keys)) as services:
        app.state.services = services
        services.later(services.watchers.listen(services.engine))
        yield
        await _cancel_background_tasks(services.tasks)


def rates_of(settings: Settings) -> Rates:
    """Return how often each caller may ask, by role."""
    staff = parse(settings.rate_limit_staff)
    return Rates(
        {
            "student": parse(settings.rate_limit_student),
            "support": staff,
            "admin": staff,
            "service": parse(settings.rate_limit_service),
        }
    )


def tokens_of(settings: Settings) -> Tokens:
    """Return what reads tokens: it trusts the keys of AUTH_JWKS for AUTH_ISSUER.

    In development it also trusts the key of COURSAGA_HOME, for an issuer of its own.
    """
    trusted: dict[str, Trusted] = {}
    if settings.auth_jwks and settings.auth_issuer:
        trusted |= {kid: Trusted(key, settings.auth_issuer) for kid, key in signing_keys(settings.auth_jwks).items()}
    if settings.accepts_dev_tokens:
        own = dev_key(settings.coursaga_home)
        trusted[kid_of(own)] = Trusted(own, DEV_ISSUER)
    return Tokens(trusted, settings.auth_audience, settings.auth_leeway.total_seconds())


def _operation(route: APIRoute) -> str:
    """Return an operation's id, the same in the policy and in the documentation."""
    return route.name


async def _cancel_background_tasks(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel the sweeps under way: the purchases that they would wake try again by themselves."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    """Serve until SIGINT or SIGTERM. Wait for a server that does not answer.

    Returns the exit code: 0 stopped as asked, 1 a setting is wrong, 3 no server is named and no stack runs, others as
    uvicorn's.
    """
    try:
        settings = attached(load_settings())
        if settings.database_url is None or not settings.temporal_address:
            raise ServerUnreachable(
                "the API needs DATABASE_URL and TEMPORAL_ADDRESS, and no stack runs (start everything with `coursaga up`)"
            )
        app = create_app(settings)
    except CannotRun as error:
        print(f"api: {error}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
        return error.exit_code
    set_up_logs(settings.log_level, settings.log_format)
    uvicorn.run(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        http=PunctualProtocol,
        timeout_graceful_shutdown=10,
    )
    return 0


if __name__ == "__main__":
    leave(main())
