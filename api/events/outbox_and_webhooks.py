"""Show how many events wait to be told to others, and keep the targets of webhooks."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

import structlog
from fastapi import APIRouter, Path
from pydantic import AfterValidator, ConfigDict, Field

from api.http.dependencies import ServicesDep
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from db.reads.events import backlog
from db.sealing import NoKey
from db.webhooks import add_target, remove_target, targets
from gateways.webhooks import TargetRefused, looked_up, parsed

router = APIRouter(prefix="/api/v1/admin", tags=["events"])

_PREFIX = "whsec_"
_TARGET = "0b7c9a52-2f0e-4a53-9d3f-6f0d2f6c8b11"
_EXAMPLE: dict[str, Any] = {"id": _TARGET, "url": "https://shop.example/events", "eventTypes": ["PURCHASE_COMPLETED"]}

_log = structlog.get_logger()


def _secret(value: str) -> str:
    try:
        size = len(base64.b64decode(value.removeprefix(_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not value.startswith(_PREFIX) or not 24 <= size <= 64:
        raise ValueError(f"must be {_PREFIX} and 24 to 64 bytes in base64")
    return value


class BacklogAnswer(Answer):
    """Events not published and deliveries not made yet, the age of the oldest in seconds, and what was given up."""

    events_waiting: int
    events_oldest_seconds: float
    deliveries_waiting: int
    deliveries_oldest_seconds: float
    deliveries_given_up: int
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "eventsWaiting": 2,
                    "eventsOldestSeconds": 0.4,
                    "deliveriesWaiting": 0,
                    "deliveriesOldestSeconds": 0.0,
                    "deliveriesGivenUp": 0,
                }
            ]
        }
    )


class NewTarget(Body):
    """A target. `eventTypes` empty: it is told of everything. Without `secret` one is made."""

    url: str = Field(min_length=1, max_length=500)
    event_types: list[Annotated[str, Field(pattern=r"^[A-Z][A-Z_]{0,63}$")]] = Field(
        default_factory=list[str], max_length=50
    )
    secret: Annotated[str, AfterValidator(_secret)] | None = Field(None, max_length=200)
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": _EXAMPLE["url"], "eventTypes": _EXAMPLE["eventTypes"]}]}
    )


class TargetMade(Answer):
    """The target, and the secret that signs its webhooks: shown here and never again."""

    id: str
    url: str
    event_types: list[str]
    secret: str
    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "secret": f"{_PREFIX}MfKQ9r8GKYqrTwjU"}]})


class TargetView(Answer):
    """A target and its deliveries. `lastAnswer`: the HTTP status, or why it could not be asked."""

    id: str
    url: str
    event_types: list[str]
    created_at: datetime
    delivered: int
    waiting: int
    given_up: int
    last_answer: str | None


class Targets(Answer):
    """Every target, oldest first."""

    webhooks: list[TargetView]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "webhooks": [
                        {**_EXAMPLE, "createdAt": "2026-11-21T10:00:00Z", "delivered": 41, "waiting": 0, "givenUp": 0,
                         "lastAnswer": "200"}
                    ]
                }
            ]
        }
    )  # fmt: skip


class TargetRemoved(Answer):
    """The target that gets no more webhooks."""

    id: str
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _TARGET}]})


@router.get("/outbox", summary="How far the telling is behind", responses=problems(Unprocessable, Unavailable))
async def show_backlog(services: ServicesDep) -> BacklogAnswer:
    """All are usually zero. When events grow old, no relay runs, or Kafka does not answer it."""
    async with services.reading() as conn:
        found = await backlog(conn)
    return BacklogAnswer(
        events_waiting=found.events,
        events_oldest_seconds=round(found.events_age, 1),
        deliveries_waiting=found.deliveries,
        deliveries_oldest_seconds=round(found.deliveries_age, 1),
        deliveries_given_up=found.given_up,
    )


@router.post(
    "/webhooks",
    status_code=201,
    summary="Tell an address of events",
    responses=problems(Unprocessable, Conflict, Unavailable),
)
async def add_webhook(body: NewTarget, services: ServicesDep) -> TargetMade:
    """Events published from now on are sent there, signed, at least once, in order per purchase.

    Addresses that are not public are refused; each try checks them again.
    """
    try:
        await looked_up(parsed(body.url, private=services.private_webhooks), private=services.private_webhooks)
    except TargetRefused as err:
        raise Unprocessable(code="TARGET_REFUSED", detail=f"This URL is not called: {err}.") from err
    made = TargetMade(
        id=str(uuid4()),
        url=body.url,
        event_types=body.event_types,
        secret=body.secret or _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    try:
        sealed = services.seal.close(made.secret)
    except NoKey:
        raise Unavailable(
            code="SECRETS_KEYS_MISSING", detail="The API has no key to store the secret with: set SECRETS_KEYS."
        ) from None
    if not await add_target(services.engine, made.id, made.url, sealed, made.event_types):
        raise Conflict(code="TARGET_EXISTS", detail="This URL is told already; remove it first to change it.")
    _log.info("webhook_added", target=made.id, event_types=made.event_types)
    return made


@router.get("/webhooks", summary="Who is told of events", responses=problems(Unprocessable, Unavailable))
async def list_webhooks(services: ServicesDep) -> Targets:
    """Tells what is delivered, what waits, and what was given up after some three days of tries."""
    async with services.reading() as conn:
        return Targets(webhooks=[TargetView(**vars(row)) for row in await targets(conn)])


@router.delete(
    "/webhooks/{target}", summary="Tell an address no more", responses=problems(NotFound, Unprocessable, Unavailable)
)
async def remove_webhook(target: Annotated[str, Path(max_length=64)], services: ServicesDep) -> TargetRemoved:
    """Deliveries that wait for it are dropped; the record of those made stays."""
    if "\0" in target or not await remove_target(services.engine, target):
        raise NotFound(code="TARGET_NOT_FOUND", detail="No target has this id.")
    _log.info("webhook_removed", target=target)
    return TargetRemoved(id=target)
