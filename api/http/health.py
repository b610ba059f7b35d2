"""`/healthz`: the process lives. `/readyz`: what it needs is there, or it names what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import APIRouter
from pydantic import ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from api.http.dependencies import ServicesDep
from api.http.json_models import Answer
from api.http.problems import problems
from application.context import Services
from application.errors import Unavailable
from application.temporal_client import who_polls
from db.reads.schema import newest_revision, revision_of

router = APIRouter(tags=["health"])

T = TypeVar("T")

_WITHIN = 3.0  # seconds for each look


class Alive(Answer):
    """The process answers."""

    status: str = "ok"
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})


class Ready(Answer):
    """Everything needed is there."""

    ready: bool = True
    checks: dict[str, str]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ready": True, "checks": {"database": "ok", "migrations": "ok", "temporal": "ok", "worker": "ok"}}
            ]
        }
    )


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> Alive:
    """Answers without asking any other process."""
    return Alive()


@router.get("/readyz", summary="Whether purchases can be started and carried on", responses=problems(Unavailable))
async def readyz(services: ServicesDep) -> Ready:
    """Checks database, migrations, temporal and worker; a 503 names what is down."""
    stored, worked = await asyncio.gather(_stored(services), _worked(services))
    checks = stored | worked
    down = [name for name, state in checks.items() if state != "ok"]
    if down:
        detail = "; ".join(f"{name}: {checks[name]}" for name in down)
        raise Unavailable(code="NOT_READY", detail=detail, down=down)
    return Ready(checks=checks)


async def _stored(services: Services) -> dict[str, str]:
    revision = await _answer(_revision(services))
    if isinstance(revision, _Silent):
        return {"database": "does not answer", "migrations": "unknown"}
    fits = revision == newest_revision()
    return {"database": "ok", "migrations": "ok" if fits else "not at this code's version, run `coursaga migrate`"}


async def _worked(services: Services) -> dict[str, str]:
    seen = await _answer(who_polls(services.temporal, services.task_queue))
    if isinstance(seen, _Silent):
        return {"temporal": "does not answer", "worker": "unknown"}
    remedy = ", run `coursaga release`" if seen.workers else ""
    return {
        "temporal": "ok",
        "worker": f"of task queue {services.task_queue} {seen.fault}{remedy}" if seen.fault else "ok",
    }


class _Silent:
    """No answer in time."""


async def _answer(asked: Awaitable[T]) -> T | _Silent:
    try:
        return await asyncio.wait_for(asked, _WITHIN)
    except (SQLAlchemyError, Unavailable, RPCError, TimeoutError):
        return _Silent()


async def _revision(services: Services) -> str | None:
    async with services.reading() as conn:
        return await revision_of(conn)
