"""`/api/v1/admin/dead-letters`: show, mend and replay messages that could not be taken."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.events.dead_letter_bodies import (
    Filters,
    FixBody,
    LetterAnswer,
    LetterFile,
    LetterPage,
    ReplayBody,
    ReplayManyAnswer,
    ReplayManyBody,
    letter_file,
    letter_view,
)
from api.http.act_models import ActBody
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.problems import problems
from application.caller import Caller
from application.context import Services
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.replay_dead_letters import DUPLICATE, TAKEN, Replays, fix, letter_or_404, replay
from application.request_turns import waiting
from db.dead_letters import LetterAct
from db.reads.events import LAST, letter_acts, letters
from db.request_keys import claim_key

router = APIRouter(prefix="/api/v1/admin", tags=["dead letters"])

_WITHIN = 20.0  # seconds in which letters are replayed; what is left then is for the next request
_SHOWN = 20  # refusals in an answer
LetterId = Annotated[int, Path(ge=1, le=LAST)]


@router.get("/dead-letters", summary="Messages that could not be taken", responses=problems(Unprocessable, Unavailable))
async def list_dead_letters(filters: Annotated[Filters, Query()], services: ServicesDep) -> LetterPage:
    """Lists those that wait for somebody, unless asked for others. Each was tried three times when it came."""
    waiting = {"waiting": True, "replayed": False, "all": None}[filters.state]
    async with services.reading() as conn:
        found = await letters(conn, limit=filters.limit + 1, after=filters.after, waiting=waiting, code=filters.code)
    rows = found[: filters.limit]
    return LetterPage(
        dead_letters=[letter_view(row) for row in rows],
        next_after=rows[-1].id if len(found) > filters.limit else None,
    )


@router.get(
    "/dead-letters/{letter}",
    summary="A dead letter: what came, why it was refused, what was done",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def show_dead_letter(letter: LetterId, services: ServicesDep) -> LetterFile:
    """Shows the original, byte for byte, the mended payload beside it, and every act on it."""
    row = await letter_or_404(services, letter)
    async with services.reading() as conn:
        acts = await letter_acts(conn, row.id)
    return letter_file(row, acts)


@router.post(
    "/dead-letters/{letter}/fix",
    summary="Mend the payload of a dead letter",
    responses=problems(NotFound, Unprocessable, Conflict, Unavailable),
)
async def fix_dead_letter(letter: LetterId, body: FixBody, services: ServicesDep, who: CallerDep) -> LetterAnswer:
    """The mended payload is kept beside the original, and replays use it. The event door must accept it."""
    payload = json.dumps(body.payload, ensure_ascii=False)
    return LetterAnswer(id=letter, outcome=await fix(services, letter, payload, _act(body, who, "fix")))


@router.post(
    "/dead-letters/{letter}/replay",
    summary="Bring a dead letter in again",
    responses=problems(NotFound, Unprocessable, Conflict, Unavailable),
)
async def replay_dead_letter(letter: LetterId, body: ReplayBody, services: ServicesDep, who: CallerDep) -> LetterAnswer:
    """Sends it through the event door again; its effect happens once, however often it came.

    If it is refused again, the letter stays.
    """
    outcome, detail = await replay(services, letter, _act(body, who, "replay"))
    return LetterAnswer(id=letter, outcome=outcome, detail=detail)


@router.post(
    "/dead-letters:replay",
    summary="Bring many dead letters in again",
    responses=problems(Conflict, Unprocessable, Unavailable),
)
async def replay_dead_letters(body: ReplayManyBody, services: ServicesDep, who: CallerDep) -> ReplayManyAnswer:
    """Replays those that wait, at a steady pace, with one audit row each.

    After some time it answers with what is `left`; the same request again goes on, and never acts twice on one.
    """
    if not (body.all or body.first or body.last or body.code):
        raise Unprocessable(code="FILTER_NEEDED", detail='Say which: first, last, code, or {"all": true}.')
    await claim_key(services.engine, "dead-letters", who.subject, body.request_key, body.model_dump())
    async with services.reading() as conn:
        found = await letters(
            conn,
            limit=body.limit,
            after=(body.first or 1) - 1,
            until=body.last or LAST,
            waiting=True,
            code=body.code,
            untouched_by=body.request_key,
        )
    done = await _replay_all(services, [row.id for row in found], _act(body, who, "replay"))
    return ReplayManyAnswer(matched=len(found), **vars(done))


async def _replay_all(services: Services, ids: list[int], act: LetterAct) -> Replays:
    done = Replays(left=len(ids))
    until = asyncio.get_running_loop().time() + _WITHIN
    for letter_id in ids:
        async with waiting():
            await services.pace.turn()
        if asyncio.get_running_loop().time() > until:
            break
        outcome, _ = await replay(services, letter_id, act)
        done.left -= 1
        if outcome in (TAKEN, DUPLICATE):
            done.replayed += 1
        else:
            done.refused += 1
            done.refusals += [f"{letter_id}: {outcome}"] if len(done.refusals) < _SHOWN else []
    return done


def _act(body: ActBody, who: Caller, verb: str) -> LetterAct:
    return LetterAct(body.request_key, verb, who.subject, body.reason)
