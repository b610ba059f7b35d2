"""`POST /api/v1/admin/purchases:bulk`: one verb for many parked purchases, each its own act with its own audit row.

Every purchase gets the key `{requestKey}:{workflowId}`, so the same request again goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter, Response
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from api.http.act_models import ActBody
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.problems import problems
from api.operators.bodies import BULK_BODIES
from api.operators.bulk_bodies import BulkAnswer, BulkBody
from application.caller import Caller
from application.context import Services
from application.errors import AppError, Conflict, Unavailable, Unprocessable
from application.operator_acts import perform, require_valid
from application.request_turns import waiting
from application.temporal_client import RunState, parked_runs, workers_poll
from db.bulk_requests import amount_of, ask_for_bulk, await_second_person, confirm_bulk
from db.reads.cases import acted_on
from db.reads.starts import StartRow, starts_of
from domain.ids import bulk_key_of, purchase_id_of
from workflows.inbox import AWAITING_SECOND_PERSON
from workflows.messages import Act

router = APIRouter(prefix="/api/v1/admin", tags=["admin"])

_MAX_CONCURRENCY = 8  # acts in flight of one request
_WITHIN = 20.0  # seconds in which acts are sent; what is left then is for the next request
_SHOWN = 20  # purchases of the sample, and failures, in an answer

_log = structlog.get_logger()


@dataclass
class _Tally:
    done: int = 0
    pending: int = 0
    held: int = 0
    failed: int = 0
    skipped: int = 0
    left: int = 0
    failures: list[str] = field(default_factory=list[str])

    def because(self, start: StartRow, err: AppError) -> None:
        if len(self.failures) < _SHOWN:
            self.failures.append(f"{start.workflow_id}: {err.detail}")


@dataclass(frozen=True)
class _Person:
    subject: str
    reason: str


@dataclass(frozen=True)
class _Agreed:
    """Who acts: nobody while a second person is awaited. `on`: purchases that both agreed on, None: all that match."""

    people: list[_Person]
    on: frozenset[str] | None = None

    def covers(self, run: RunState) -> bool:
        return self.on is None or purchase_id_of(run.workflow_id) in self.on


@router.post(
    "/purchases:bulk",
    summary="One verb for many parked purchases",
    responses={
        202: {"model": BulkAnswer, "description": "Somebody else has to send the same before all is done."},
        **problems(Conflict, Unprocessable, Unavailable),
    },
)
async def bulk(body: BulkBody, services: ServicesDep, who: CallerDep, response: Response) -> BulkAnswer:
    """A dry run counts and shows a sample. The real run sends the verb at a steady pace, one audit row each.

    After some time it answers with what is `left`; the same request again goes on, and never acts twice on one. If all
    matched together give back the two-person limit or more, it waits (202) for a second person, who sends the same
    verb, values, filter and requestKey. Their yes covers what matched then; what matched later needs a new requestKey
    (`newKeyNeeded`). 409 `KEY_REUSED` when the key was used for anything else.
    """
    verb = body.verb.replace("-", "_")
    require_valid(verb, _said(body, verb, "any").act(who.subject))
    if not body.filter.model_dump(exclude_none=True):
        raise Unprocessable(code="FILTER_NEEDED", detail='Say which purchases; {"attention": "any"} means all parked.')
    found = sorted((await parked_runs(services.temporal, *body.filter.conditions())).values(), key=_by_id)
    agreed = (
        _Agreed([_Person(who.subject, body.reason)])
        if body.dry_run
        else await _agreed(services, who, body, verb, found)
    )
    covered = [run for run in found if agreed.covers(run)]
    matched, later = covered[: body.limit], len(found) - len(covered)
    tally = _Tally(left=len(matched))
    if not body.dry_run and matched and agreed.people:
        if not await workers_poll(services.temporal, services.task_queue):
            raise Unavailable(code="WORKER_UNAVAILABLE", detail="No worker is up; nothing was sent.")
        tally = await _send_all(services, agreed.people, body, verb, matched)
        _log.info(
            "bulk_act",
            verb=verb,
            request_key=body.request_key,
            matched=len(matched),
            done=tally.done,
            actor=who.subject,
        )
    if later:
        tally.failures.append(
            f"{later} matched only after the second person had said yes: use a new requestKey for them."
        )
    response.status_code = 200 if agreed.people and not tally.held else 202
    return BulkAnswer(
        dry_run=body.dry_run,
        matched=len(matched) + later,
        new_key_needed=later,
        sample=[run.workflow_id for run in matched[:_SHOWN]],
        awaiting_second_person=not agreed.people,
        **vars(tally),
    )


async def _agreed(services: Services, who: Caller, body: BulkBody, verb: str, found: list[RunState]) -> _Agreed:
    """Return who acts: the caller, or two who asked for the same, on what matched when the second did.

    Raises Conflict when the key was used for anything else.
    """
    said = {"values": body.values, "filter": body.filter.model_dump(exclude_none=True)}
    ids, key, now = [purchase_id_of(run.workflow_id) for run in found], body.request_key, services.clock()
    async with services.engine.begin() as conn:
        kept = await ask_for_bulk(conn, key, verb, said, who.subject, body.reason, now)
        if (kept.verb, kept.said) != (verb, said):
            raise Conflict(
                code="KEY_REUSED", detail=f"This requestKey names another bulk act: {kept.verb}. Use a new one."
            )
        first, caller = _Person(kept.actor, kept.reason), _Person(who.subject, body.reason)
        if kept.second_actor:
            return _Agreed([first, _Person(kept.second_actor, body.reason)], frozenset(kept.covers or ()))
        if not await _moves_much(services, conn, body, verb, ids):
            return _Agreed([caller])
        if kept.covers is None:
            await await_second_person(conn, key, who.subject, body.reason, ids, now)
            return _Agreed([])
        if kept.actor == who.subject:
            return _Agreed([])
        await confirm_bulk(conn, key, who.subject, ids, now)
        return _Agreed([first, caller], frozenset(ids))


async def _moves_much(services: Services, conn: AsyncConnection, body: BulkBody, verb: str, ids: list[str]) -> bool:
    """Return whether together they give back too much for one person; an unknown amount is too much."""
    limit = services.rules.two_person_limit
    if not (limit and verb == "cancel" and body.values.get("refund") != "none"):
        return False
    amount = await amount_of(conn, ids)
    return amount is None or amount >= limit


async def _send_all(
    services: Services, people: list[_Person], body: BulkBody, verb: str, matched: Iterable[RunState]
) -> _Tally:
    ids = {purchase_id_of(run.workflow_id): bulk_key_of(body.request_key, run.workflow_id) for run in matched}
    async with services.reading() as conn:
        starts = await starts_of(conn, ids)
        before = await acted_on(conn, ids, verb, _said(body, verb, "any").act("any").values)
    tally, gate = _Tally(skipped=len(before), failed=len(ids) - len(starts)), asyncio.Semaphore(_MAX_CONCURRENCY)
    until = asyncio.get_running_loop().time() + _WITHIN

    async def one(start: StartRow) -> None:
        async with gate:
            async with waiting():
                await services.pace.turn()
            if asyncio.get_running_loop().time() > until:
                tally.left += 1
            else:
                said = _said(body, verb, ids[start.purchase_id])
                acts = [said.model_copy(update={"reason": each.reason}).act(each.subject) for each in people]
                await _send(services, start, verb, acts, tally)

    await asyncio.gather(*(one(start) for key, start in starts.items() if key not in before))
    return tally


async def _send(services: Services, start: StartRow, verb: str, said: list[Act], tally: _Tally) -> None:
    """Act as the first person and, where the purchase itself waits for a second one, as the second."""
    done, outcome = False, None
    try:
        for act in said:
            done, outcome = await perform(services, start, verb, act)
            if outcome != AWAITING_SECOND_PERSON:
                break
    except (Conflict, Unprocessable, Unavailable) as err:
        missed = isinstance(err, Unavailable) or err.code == "KEY_REUSED"
        tally.failed += missed
        tally.skipped += not missed
        tally.because(start, err)
    else:
        tally.done += done
        tally.pending += not done
        tally.held += outcome == AWAITING_SECOND_PERSON


def _said(body: BulkBody, verb: str, key: str) -> ActBody:
    """Return the body of the verb's own call. Raises Unprocessable."""
    if verb not in BULK_BODIES:
        raise Unprocessable(code="UNKNOWN_VERB", detail=f"The verbs are {', '.join(BULK_BODIES)}.")
    signed = {"reason": body.reason, "requestKey": body.request_key}
    if clash := body.values.keys() & signed.keys():
        raise Unprocessable(code="INVALID_REQUEST", detail=f"values must not name {', '.join(sorted(clash))}")
    try:
        said = BULK_BODIES[verb].model_validate(body.values | signed)
    except ValidationError as err:
        detail = "; ".join(f"values.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors()[:3])
        raise Unprocessable(code="INVALID_REQUEST", detail=detail) from err
    return said.model_copy(update={"request_key": key})


def _by_id(run: RunState) -> str:
    return run.workflow_id
