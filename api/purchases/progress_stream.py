"""`GET /api/v1/purchases/{id}/events`: what changes, as it changes, resumable (mission rows 18, 89)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.problems import problems
from application.caller import Caller
from application.context import Services
from application.errors import NotFound, TooManyRequests, Unavailable, Unprocessable
from application.find_purchase import found
from application.request_turns import only_waits
from db.reads.progress import ProgressEvent, progress_after

router = APIRouter(prefix="/api/v1/purchases", tags=["purchases"])

_KEEPALIVE_SECONDS = 15.0  # seconds of silence after which a comment keeps the connection open
_RETRY_MS = 2000

_EXAMPLE = 'id: 4\nevent: step\ndata: {"at": "2026-12-01T18:00:00Z", "step": "create_sessions", "state": "done"}\n\n'


@router.get(
    "/{purchase}/events",
    summary="What changes of a purchase, as it changes",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"example": _EXAMPLE}}},
        204: {"description": "It has ended and all of it was told: an EventSource stops asking."},
        **problems(NotFound, TooManyRequests, Unprocessable, Unavailable),
    },
)
async def watch_purchase(
    purchase: PurchaseInPath,
    services: ServicesDep,
    who: CallerDep,
    last_event_id: Annotated[
        int, Header(ge=0, le=2**62, description="the last one you have; what came after it is sent")
    ] = 0,
) -> Response:
    """Server-sent events, numbered per purchase: `started`, `step` (done or undone), `attention` (its code), `ended`.

    All are sent, or those after Last-Event-ID; the stream ends with `ended`, or when the token does. Each tells what
    changed: look at the purchase for all that is true now.
    """
    purchase_id = purchase_id_from(purchase)
    async with services.reading() as conn:
        start = await found(conn, purchase_id, who)
        missed = await progress_after(conn, purchase_id, last_event_id)
    if start.ending and not missed:
        return Response(status_code=204)
    with ExitStack() as seat:
        seat.enter_context(services.seats.taken(f"{who.role} {who.subject}"))
        return _Stream(_stream(services, who, purchase_id, last_event_id), seat.pop_all())


class _Stream(EventSourceResponse):
    """Keeps its seat for as long as it lasts, but no turn."""

    def __init__(self, content: AsyncGenerator[bytes], seat: ExitStack) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store"})
        self._seat = seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        only_waits()
        with self._seat:
            await super().__call__(scope, receive, send)


async def _stream(services: Services, who: Caller, purchase_id: str, last: int) -> AsyncGenerator[bytes]:
    yield format_sse_event(retry=_RETRY_MS)
    with services.watchers.bell(purchase_id) as bell:
        while True:
            bell.clear()  # before the look, so that what is committed after it rings again
            async with services.watchers.looks, services.reading() as conn:
                news = await progress_after(conn, purchase_id, last)
            for told in news:
                yield _event(told)
                last = told.number
            if news and news[-1].kind == "ended":
                return
            left = who.until - time.time()
            if left <= 0:  # what a token opens ends with it
                return
            try:
                await asyncio.wait_for(bell.wait(), min(_KEEPALIVE_SECONDS, left))
            except TimeoutError:
                yield KEEPALIVE_COMMENT


def _event(told: ProgressEvent) -> bytes:
    facts: dict[str, Any] = {"at": told.at.isoformat(), **told.facts}
    return format_sse_event(id=str(told.number), event=told.kind, data_str=json.dumps(facts))
