"""`POST /api/v1/admin/purchases:bulk`: one verb for many parked purchases, each its own act with its own audit row.

Every purchase gets the key `{requestKey}:{workflowId}`, so the same request again goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import APIRouter
from fastapi_rfc9457 import Problem
from fastapi_rfc9457.server import problems
from pydantic import ConfigDict, Field, ValidationError

from api.act_bodies import BODIES, ActBody
from api.acts import perform, require_valid
from api.auth import Caller, CallerDep
from api.ids import ID_PATTERN, PERSON_PATTERN, Key, Words
from api.problems import Conflict, Unavailable, Unprocessable
from api.services import Services, ServicesDep
from api.temporal import RunState, equals, parked_runs, workers_poll
from api.wire import Answer, Body
from db.reads.cases import acted_on
from db.reads.starts import StartRow, starts_of
from domain.purchase import purchase_id_of
from workflows.attributes import ATTENTION_REASON, ITEM_ID, PAYMENT_ID, PURCHASE_STAGE, STUDENT_ID
from workflows.messages import Act

router = APIRouter(prefix="/api/v1/admin", tags=["admin"])

_AT_ONCE = 8  # acts in flight of one request
_WITHIN = 20.0  # seconds in which acts are sent; what is left then is for the next request
_SHOWN = 20  # purchases of the sample, and failures, in an answer

_log = structlog.get_logger()


class BulkFilter(Body):
    """Which of the purchases that need attention; all conditions hold at once, at least one is needed."""

    attention: str | None = Field(None, pattern=r"^(any|[A-Z][A-Z_]{0,63})$", description="`any`, or the reason")
    code: str | None = Field(None, pattern=r"^[A-Z][A-Z_]{0,63}$", description="the reason it is parked for")
    stage: str | None = Field(None, pattern=r"^[a-z_]{1,64}$", description="the step it is parked at")
    student: str | None = Field(None, pattern=PERSON_PATTERN)
    payment: str | None = Field(None, pattern=ID_PATTERN)
    item: str | None = Field(None, pattern=PERSON_PATTERN)

    def conditions(self) -> list[str]:
        """As visibility clauses."""
        named = self.attention if self.attention != "any" else None
        given = [
            (ATTENTION_REASON, named), (ATTENTION_REASON, self.code), (PURCHASE_STAGE, self.stage),
            (STUDENT_ID, self.student), (PAYMENT_ID, self.payment), (ITEM_ID, self.item),
        ]  # fmt: skip
        return [equals(key, value) for key, value in given if value is not None]


class BulkBody(Body):
    """`values`: what the verb takes beside reason and requestKey. A dry run, unless told otherwise."""

    verb: str = Field(max_length=64)
    filter: BulkFilter
    reason: Words
    request_key: Key
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    dry_run: bool = True
    limit: int = Field(1000, ge=1, le=10_000)
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "verb": "retry_now",
                    "filter": {"code": "NO_TRAINER_AVAILABLE", "item": "course-piano"},
                    "reason": "three new piano trainers",
                    "requestKey": "ticket-4711",
                    "dryRun": True,
                }
            ]
        }
    )


class BulkAnswer(Answer):
    """Of `matched`: `done` answered; `pending` accepted, not answered yet; `skipped` acted on before under this key,
    or refusing the act where they stand; `failed` not reached; `left` for the same request again.
    """

    dry_run: bool
    matched: int
    done: int
    pending: int
    failed: int
    skipped: int
    left: int
    sample: list[str] = Field(description="workflow ids, some of those matched")
    failures: list[str] = Field(description="some of those that failed or refused, and why")
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dryRun": True, "matched": 12, "done": 0, "pending": 0, "failed": 0, "skipped": 0, "left": 12,
                    "sample": ["purchase:pay-1:1"], "failures": [],
                }
            ]
        }
    )  # fmt: skip


@dataclass
class _Tally:
    done: int = 0
    pending: int = 0
    failed: int = 0
    skipped: int = 0
    left: int = 0
    failures: list[str] = field(default_factory=list[str])

    def because(self, start: StartRow, err: Problem) -> None:
        if len(self.failures) < _SHOWN:
            self.failures.append(f"{start.workflow_id}: {err.detail}")


@router.post(
    "/purchases:bulk", summary="One verb for many parked purchases", responses=problems(Unprocessable, Unavailable)
)
async def bulk(body: BulkBody, at: ServicesDep, who: CallerDep) -> BulkAnswer:
    """A dry run counts and shows a sample. The real run sends the verb at a steady pace, one audit row each.

    After some time it answers with what is `left`; the same request again goes on, and never acts twice on one.
    """
    verb = body.verb.replace("-", "_")
    require_valid(verb, _said(body, verb, "any").act(who.subject))
    if not body.filter.model_dump(exclude_none=True):
        raise Unprocessable(code="FILTER_NEEDED", detail='Say which purchases; {"attention": "any"} means all parked.')
    matched = sorted((await parked_runs(at.temporal, *body.filter.conditions())).values(), key=_by_id)[: body.limit]
    tally = _Tally(left=len(matched))
    if not body.dry_run and matched:
        if not await workers_poll(at.temporal, at.task_queue):
            raise Unavailable(code="WORKER_UNAVAILABLE", detail="No worker is up; nothing was sent.")
        tally = await _send_all(at, who, body, verb, matched)
        _log.info(
            "bulk_act",
            verb=verb,
            request_key=body.request_key,
            matched=len(matched),
            done=tally.done,
            actor=who.subject,
        )
    sample = [run.workflow_id for run in matched[:_SHOWN]]
    return BulkAnswer(dry_run=body.dry_run, matched=len(matched), sample=sample, **vars(tally))


async def _send_all(at: Services, who: Caller, body: BulkBody, verb: str, matched: Iterable[RunState]) -> _Tally:
    ids = {purchase_id_of(run.workflow_id): f"{body.request_key}:{run.workflow_id}" for run in matched}
    async with at.reading() as conn:
        starts = await starts_of(conn, ids)
        before = await acted_on(conn, ids)
    tally, gate = _Tally(skipped=len(before), failed=len(ids) - len(starts)), asyncio.Semaphore(_AT_ONCE)
    until = asyncio.get_running_loop().time() + _WITHIN

    async def one(start: StartRow) -> None:
        async with gate:
            await at.pace.turn()
            if asyncio.get_running_loop().time() > until:
                tally.left += 1
            else:
                await _send(at, start, verb, _said(body, verb, ids[start.purchase_id]).act(who.subject), tally)

    await asyncio.gather(*(one(start) for key, start in starts.items() if key not in before))
    return tally


async def _send(at: Services, start: StartRow, verb: str, said: Act, tally: _Tally) -> None:
    try:
        done, _ = await perform(at, start, verb, said)
    except (Conflict, Unprocessable) as err:
        tally.skipped += 1
        tally.because(start, err)
    except Unavailable as err:
        tally.failed += 1
        tally.because(start, err)
    else:
        tally.done += done
        tally.pending += not done


def _said(body: BulkBody, verb: str, key: str) -> ActBody:
    """The act as the verb's own call would be sent it. Raises Unprocessable."""
    if verb not in BODIES:
        raise Unprocessable(code="UNKNOWN_VERB", detail=f"The verbs are {', '.join(BODIES)}.")
    signed = {"reason": body.reason, "requestKey": body.request_key}
    if clash := body.values.keys() & signed.keys():
        raise Unprocessable(code="INVALID_REQUEST", detail=f"values must not name {', '.join(sorted(clash))}")
    try:
        said = BODIES[verb].model_validate(body.values | signed)
    except ValidationError as err:
        detail = "; ".join(f"values.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors()[:3])
        raise Unprocessable(code="INVALID_REQUEST", detail=detail) from err
    return said.model_copy(update={"request_key": key})


def _by_id(run: RunState) -> str:
    return run.workflow_id
