"""`/api/v1/admin/dead-letters`: messages that could not be taken: see them, mend them, bring them in again."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import ConfigDict, Field

from api.http.act_models import ActBody
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.caller import Caller
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.event_schema import EXAMPLE
from application.replay_dead_letters import DUPLICATE, TAKEN, Replays, fix, letter_or_404, replay
from application.turns import waiting
from db.dead_letters import LetterAct
from db.reads.events import LAST, LetterRow, letter_acts, letters
from db.request_keys import claim_key

router = APIRouter(prefix="/api/v1/admin", tags=["dead letters"])

_WITHIN = 20.0  # seconds in which letters are replayed; what is left then is for the next request
_SHOWN = 20  # refusals in an answer
_CODE = r"^[A-Z][A-Z0-9_]{0,63}$"

LetterId = Annotated[int, Path(ge=1, le=LAST)]
_ROW: dict[str, Any] = {
    "id": 7, "code": "PAYMENT_NOT_FOUND", "detail": "No payment with a line has this id; nothing was started.",
    "topic": "payments", "partition": 2, "offset": 41, "bytes": 312, "tries": 3, "begins": "{\"id\": \"018f4c1e\"",
    "fixed": False, "arrivedAt": "2026-11-21T10:00:00Z", "replayedAt": None,
}  # fmt: skip
_ACT: dict[str, Any] = {
    "requestKey": "ticket-4711", "verb": "replay", "actor": "ann@example.test", "reason": "the payment is here now",
    "before": {"code": "PAYMENT_NOT_FOUND", "fixed": False, "replayed": False}, "after": {"replayed": True},
    "outcome": TAKEN, "actedAt": "2026-11-21T10:07:00Z",
}  # fmt: skip


class LetterView(Answer):
    """A dead letter in a list. `code`: why it was refused last; `begins`: its first characters."""

    id: int
    code: str
    detail: str
    topic: str
    partition: int
    offset: int
    bytes: int
    tries: int
    begins: str
    fixed: bool = Field(description="an operator has mended its payload")
    arrived_at: datetime
    replayed_at: datetime | None
    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})


class LetterActView(Answer):
    """What an operator did about it."""

    request_key: str
    verb: str
    actor: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    outcome: str
    acted_at: datetime


class LetterFile(LetterView):
    """A dead letter, whole. `original` is its text; of bytes that are no text, `originalBase64`."""

    key: str | None
    original: str | None
    original_base64: str | None
    fixed_payload: Any
    acts: list[LetterActView]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**_ROW, "key": "pay-1", "original": "{\"id\": ...}", "originalBase64": None, "fixedPayload": None,
                 "acts": [_ACT]}
            ]
        }
    )  # fmt: skip


class LetterPage(Answer):
    """In the order they came. `next_after` null: this was the last page."""

    dead_letters: list[LetterView]
    next_after: int | None
    model_config = ConfigDict(json_schema_extra={"examples": [{"deadLetters": [_ROW], "nextAfter": None}]})


class FixBody(ActBody):
    """`payload`: the event as it should have been, whole."""

    payload: dict[str, Any]
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "typing error", "requestKey": "ticket-4711", "payload": EXAMPLE}]}
    )


class ReplayBody(ActBody):
    """Why it is brought in again, and the key that makes it happen once."""


class LetterAnswer(Answer):
    """`outcome`: fixed, taken, duplicate, or the code of the refusal, with `detail` when it was refused just now."""

    id: int
    outcome: str
    detail: str | None = None
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 7, "outcome": TAKEN, "detail": None}]})


class ReplayManyBody(ActBody):
    """Which of those that wait: ids from `first` to `last`, those refused with `code`, or `all`."""

    first: int | None = Field(None, ge=1, le=LAST)
    last: int | None = Field(None, ge=1, le=LAST)
    code: str | None = Field(None, pattern=_CODE)
    all: bool = False
    limit: int = Field(1000, ge=1, le=10_000)
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"reason": "payments are here now", "requestKey": "ticket-4711", "first": 7, "last": 40}]
        }
    )


class ReplayManyAnswer(Answer):
    """Of `matched`: `replayed`, `refused` again, `left` for the same request again; some refusals in words."""

    matched: int
    replayed: int
    refused: int
    left: int
    refusals: list[str]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"matched": 3, "replayed": 2, "refused": 1, "left": 0, "refusals": ["9: EVENT_NOT_UTF8"]}]
        }
    )


class Filters(Body):
    """Which to list."""

    state: Literal["waiting", "replayed", "all"] = "waiting"
    code: str | None = Field(None, pattern=_CODE)
    after: int = Field(0, ge=0, le=LAST, description="`nextAfter` of the page before")
    limit: int = Field(100, ge=1, le=500)
    model_config = ConfigDict(strict=False)


@router.get("/dead-letters", summary="Messages that could not be taken", responses=problems(Unprocessable, Unavailable))
async def list_dead_letters(filters: Annotated[Filters, Query()], at: ServicesDep) -> LetterPage:
    """Those that wait for somebody, unless asked for others. Each was tried three times when it came."""
    waiting = {"waiting": True, "replayed": False, "all": None}[filters.state]
    async with at.reading() as conn:
        found = await letters(conn, limit=filters.limit + 1, after=filters.after, waiting=waiting, code=filters.code)
    rows = found[: filters.limit]
    return LetterPage(
        dead_letters=[LetterView(**_viewed(row)) for row in rows],
        next_after=rows[-1].id if len(found) > filters.limit else None,
    )


@router.get(
    "/dead-letters/{letter}",
    summary="A dead letter: what came, why it was refused, what was done",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def show_dead_letter(letter: LetterId, at: ServicesDep) -> LetterFile:
    """The original as it came, byte for byte, the mended payload beside it, and every act on it."""
    row = await letter_or_404(at, letter)
    async with at.reading() as conn:
        acts = await letter_acts(conn, row.id)
    text = _text(row.payload)
    return LetterFile(
        **_viewed(row),
        key=None if row.message_key is None else row.message_key.decode("utf-8", "backslashreplace"),
        original=text,
        original_base64=base64.b64encode(row.payload).decode() if text is None else None,
        fixed_payload=json.loads(row.fixed_payload) if row.fixed_payload else None,
        acts=[LetterActView(**vars(act)) for act in acts],
    )


@router.post(
    "/dead-letters/{letter}/fix",
    summary="Mend the payload of a dead letter",
    responses=problems(NotFound, Unprocessable, Conflict, Unavailable),
)
async def fix_dead_letter(letter: LetterId, body: FixBody, at: ServicesDep, who: CallerDep) -> LetterAnswer:
    """It is kept beside the original, and is what a replay brings in. It must be an event as the door takes it."""
    payload = json.dumps(body.payload, ensure_ascii=False)
    return LetterAnswer(id=letter, outcome=await fix(at, letter, payload, _act(body, who, "fix")))


@router.post(
    "/dead-letters/{letter}/replay",
    summary="Bring a dead letter in again",
    responses=problems(NotFound, Unprocessable, Conflict, Unavailable),
)
async def replay_dead_letter(letter: LetterId, body: ReplayBody, at: ServicesDep, who: CallerDep) -> LetterAnswer:
    """Through the same door, so that what it asks for happens once however often it came. Refused again, it stays."""
    outcome, detail = await replay(at, letter, _act(body, who, "replay"))
    return LetterAnswer(id=letter, outcome=outcome, detail=detail)


@router.post(
    "/dead-letters:replay",
    summary="Bring many dead letters in again",
    responses=problems(Conflict, Unprocessable, Unavailable),
)
async def replay_dead_letters(body: ReplayManyBody, at: ServicesDep, who: CallerDep) -> ReplayManyAnswer:
    """Of those that wait, at a steady pace, one audit row each. After some time it answers with what is `left`; the
    same request again goes on, and never acts twice on one."""
    if not (body.all or body.first or body.last or body.code):
        raise Unprocessable(code="FILTER_NEEDED", detail='Say which: first, last, code, or {"all": true}.')
    await claim_key(at.engine, "dead-letters", who.subject, body.request_key, body.model_dump())
    async with at.reading() as conn:
        found = await letters(
            conn,
            limit=body.limit,
            after=(body.first or 1) - 1,
            until=body.last or LAST,
            waiting=True,
            code=body.code,
            untouched_by=body.request_key,
        )
    done = await _replay_all(at, [row.id for row in found], _act(body, who, "replay"))
    return ReplayManyAnswer(matched=len(found), **vars(done))


async def _replay_all(at: Services, ids: list[int], act: LetterAct) -> Replays:
    done = Replays(left=len(ids))
    until = asyncio.get_running_loop().time() + _WITHIN
    for letter_id in ids:
        async with waiting():
            await at.pace.turn()
        if asyncio.get_running_loop().time() > until:
            break
        outcome, _ = await replay(at, letter_id, act)
        done.left -= 1
        if outcome in (TAKEN, DUPLICATE):
            done.replayed += 1
        else:
            done.refused += 1
            done.refusals += [f"{letter_id}: {outcome}"] if len(done.refusals) < _SHOWN else []
    return done


def _act(body: ActBody, who: Caller, verb: str) -> LetterAct:
    return LetterAct(body.request_key, verb, who.subject, body.reason)


def _viewed(row: LetterRow) -> dict[str, Any]:
    begins = row.payload[:120].decode("utf-8", "backslashreplace")
    return {
        "id": row.id, "code": row.code, "detail": row.detail, "topic": row.topic, "partition": row.topic_partition,
        "offset": row.topic_offset, "bytes": row.size, "tries": row.tries, "begins": begins,
        "fixed": row.fixed_payload is not None, "arrived_at": row.arrived_at, "replayed_at": row.replayed_at,
    }  # fmt: skip


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
