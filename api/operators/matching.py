"""`GET .../{id}/matching`: why this trainer, why not that one (mission row 73). Asks the database alone."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

import api.operators.matching_text as words
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import PurchaseInPath, purchase_id_from
from api.http.json_models import Answer
from api.http.problems import problems
from api.operators.not_looked_at import with_others
from application.errors import NotFound, Unavailable, Unprocessable
from application.find_purchase import found
from application.ids import GIVEN_PATTERN
from db.reads.matching import Matched, Unmatched, matched_of, names_of, unmatched_of
from db.reads.purchases import bought

router = APIRouter(prefix="/api/v1/admin/purchases", tags=["admin"])

_OTHER = {"trainerId": "trainer-2", "chosen": False, "why": "trainer-2 was not chosen: has another lesson."}
_CHOSEN = (
    "trainer-1 is the only one who can give all 10 lessons: 0 future lessons held, never assigned before, 2.1 km away."
)
_DECIDED: dict[str, Any] = {
    "allocationId": "2f9c61a8-2b5f-5a0e-8f3a-7d1e5b8c9a10",
    "trainerId": "trainer-1",
    "status": "approved",
    "why": _CHOSEN,
    "became": "The allocation is approved.",
    "decidedBy": "automatic",
    "decidedAt": "2026-11-21T12:00:00Z",
    "load": 0,
    "lastAssignedAt": None,
    "distanceKm": 2.1,
    "lessons": 10,
    "firstLocal": "2026-12-01T18:00",
    "timezone": "Europe/London",
    "candidates": [{"trainerId": "trainer-1", "chosen": True, "why": _CHOSEN}, _OTHER],
    "candidateCount": 2,
}


class Candidate(Answer):
    """One trainer of the course, and the first reason for or against, as a sentence."""

    trainer_id: str
    chosen: bool
    why: str


class Decided(Answer):
    """A trainer who was taken. `decidedBy`: `automatic`, or the operator.

    `load`, `lastAssignedAt` and `distanceKm` are the trainer's at that moment. All candidates are counted, some or all
    are listed.
    """

    allocation_id: str
    trainer_id: str
    status: str
    why: str
    became: str
    decided_by: str
    decided_at: datetime
    load: int | None
    last_assigned_at: datetime | None
    distance_km: float | None
    lessons: int
    first_local: str | None
    timezone: str | None
    candidates: list[Candidate]
    candidate_count: int
    model_config = ConfigDict(json_schema_extra={"examples": [_DECIDED]})


class NobodyTaken(Answer):
    """A search that found nobody; `since`: when this result was first found."""

    code: str
    why: str
    decided_by: str
    since: datetime
    candidates: list[Candidate]
    candidate_count: int


class Matching(Answer):
    """How a purchase came by its trainer.

    `outcome`: `held`, `refused` (the last search found nobody), `let_go` (nobody was looked for after that) or `open`
    (no search yet). `refused`: the last search that found nobody, also if another found somebody since. `earlier`: the
    trainers who were let go, latest first.
    """

    id: str
    workflow_id: str
    item_id: str | None
    outcome: str
    answer: str = Field(description="the whole in one sentence; of `trainer` when one was asked about")
    held: Decided | None
    refused: NobodyTaken | None
    earlier: list[Decided]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
                    "workflowId": "purchase:pay-1:1",
                    "itemId": "course-piano",
                    "outcome": "held",
                    "answer": _CHOSEN,
                    "held": _DECIDED,
                    "refused": None,
                    "earlier": [],
                }
            ]
        }
    )


@router.get(
    "/{purchase}/matching",
    summary="Why this trainer, why not that one",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def show_matching(
    purchase: PurchaseInPath,
    services: ServicesDep,
    who: CallerDep,
    trainer: Annotated[str | None, Query(pattern=GIVEN_PATTERN, description="tell of this one alone")] = None,
    limit: Annotated[int, Query(ge=1, le=5000, description="candidates listed of each look at most")] = 200,
) -> Matching:
    """Shows the decision as it was stored when it was made. Needs neither Temporal nor a worker.

    Of many trainers only those who came first were looked at. Why another one was not chosen is computed when you ask,
    as things are now.
    """
    purchase_id = purchase_id_from(purchase)
    async with services.reading() as conn:
        start = await found(conn, purchase_id, who)
        item = await bought(conn, purchase_id)
        now = services.clock()
        matched = await with_others(conn, purchase_id, await matched_of(conn, purchase_id), trainer, limit, now)
        refused = await unmatched_of(conn, purchase_id)
        shown = [_Shown(one.lost, trainer, limit) for one in (*matched, *([refused] if refused else []))]
        ids = {trainer_id for one in shown for trainer_id in one.reasons} | {one.trainer_id for one in matched}
        names = await names_of(conn, ids | ({trainer} if trainer else set()))
    told = [_decided(match, names, trainer, limit) for match in matched]
    held = told[0] if told and told[0].status != "cancelled" else None
    nobody = _nobody(refused, names, trainer, limit) if refused else None
    item_id = item.item_id if item else None
    outcome, last = _outcome(told, nobody)
    return Matching(
        id=start.purchase_id,
        workflow_id=start.workflow_id,
        item_id=item_id,
        outcome=outcome,
        answer=_answer(last, names, trainer, item_id),
        held=held,
        refused=nobody,
        earlier=told[1:] if held else told,
    )


class _Shown:
    """The reasons of one search that are shown."""

    def __init__(self, lost: dict[str, str], trainer: str | None, limit: int) -> None:
        asked = lost if trainer is None else {trainer: lost[trainer]} if trainer in lost else {}
        self.reasons = dict(islice(sorted(asked.items()), limit))

    def candidates(self, names: dict[str, str]) -> list[Candidate]:
        return [
            Candidate(trainer_id=trainer_id, chosen=False, why=words.why_not(trainer_id, reason, names))
            for trainer_id, reason in self.reasons.items()
        ]


def _decided(match: Matched, names: dict[str, str], trainer: str | None, limit: int) -> Decided:
    why = words.why_chosen(match, names)
    chosen = [Candidate(trainer_id=match.trainer_id, chosen=True, why=why)]
    return Decided(
        allocation_id=match.allocation_id,
        trainer_id=match.trainer_id,
        status=match.status,
        why=why,
        became=words.what_became(match),
        decided_by=match.decided_by,
        decided_at=match.created_at,
        load=match.won.get("load"),
        last_assigned_at=match.won.get("lastAssignedAt"),
        distance_km=match.won.get("distanceKm"),
        lessons=match.lessons,
        first_local=words.wall_of(match),
        timezone=match.zone,
        candidates=(chosen if trainer in (None, match.trainer_id) else [])
        + _Shown(match.lost, trainer, limit).candidates(names),
        candidate_count=max(len(match.lost) + 1, match.won.get("candidates", 0)),
    )


def _nobody(refused: Unmatched, names: dict[str, str], trainer: str | None, limit: int) -> NobodyTaken:
    return NobodyTaken(
        code=refused.code,
        why=words.why_nobody(refused),
        decided_by=refused.decided_by,
        since=refused.refused_at,
        candidates=_Shown(refused.lost, trainer, limit).candidates(names),
        candidate_count=len(refused.lost),
    )


def _outcome(told: list[Decided], nobody: NobodyTaken | None) -> tuple[str, Decided | NobodyTaken | None]:
    """Return how it stands, and the match or search that says so."""
    if told and told[0].status != "cancelled":
        return "held", told[0]
    if nobody and not (told and told[0].decided_at >= nobody.since):
        return "refused", nobody
    return ("let_go", told[0]) if told else ("open", None)


def _answer(last: Decided | NobodyTaken | None, names: dict[str, str], trainer: str | None, item_id: str | None) -> str:
    if last is None:
        return "Nobody has looked for a trainer yet."
    if trainer is not None:
        return last.candidates[0].why if last.candidates else words.no_candidate(trainer, names, item_id)
    if isinstance(last, Decided) and last.status == "cancelled":
        return f"{last.why} {last.became}"
    return last.why
