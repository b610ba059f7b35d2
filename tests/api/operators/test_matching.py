"""`GET .../matching`: why this trainer and why not that one, in sentences, with neither Temporal nor a worker there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine

from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide
from tests.activities.test_loads import crowd
from tests.api.conftest import NOBODY, booted, is_problem, settings_for
from tests.build import NOW, run


@pytest_asyncio.fixture(loop_scope="session")
async def alone(database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The API without Temporal."""
    async with booted(settings_for(database_url, NOBODY, "nobody")) as client:
        yield client


@pytest.fixture
def trainers(engine: Engine) -> TrainerActivities:
    return TrainerActivities(engine, lambda: NOW)


async def asked(api: httpx2.AsyncClient, order: PurchaseOrder, **query: Any) -> dict[str, Any]:
    answer = await api.get(f"/api/v1/admin/purchases/{order.workflow_id}/matching", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refuse(trainers: TrainerActivities, order: PurchaseOrder) -> None:
    with pytest.raises(Refused):
        trainers.assign_trainer(order)


async def test_every_candidate_has_a_sentence(
    alone: httpx2.AsyncClient, engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "t-first", last_assigned_at=NOW - timedelta(days=2))
    build.trainer(engine, "t-recent", last_assigned_at=NOW)
    build.trainer(engine, "t-early", hours=("06:00", "12:00"))
    run(engine, "UPDATE trainers SET name = 'Ada' WHERE id = 't-early'")
    order = build.purchase(engine)
    trainers.assign_trainer(order)

    seen = await asked(alone, order)

    chosen = (
        "t-first comes first of the 2 who can give all 10 lessons: 0 future lessons held, last assigned on 2026-11-19, "
        "0 km away."
    )
    assert (seen["outcome"], seen["answer"], seen["itemId"]) == ("held", chosen, "course-piano")
    held = seen["held"]
    assert (held["decidedBy"], held["decidedAt"], held["status"]) == ("automatic", "2026-11-21T10:00:00Z", "approved")
    assert (held["load"], held["lessons"], held["firstLocal"]) == (0, 10, "2026-12-01T18:00")
    assert held["candidates"] == [
        {"trainerId": "t-first", "chosen": True, "why": chosen},
        {
            "trainerId": "t-early", "chosen": False,
            "why": "Ada (t-early) was not chosen: not available for lesson 1 (2026-12-01 18:00).",
        },
        {"trainerId": "t-recent", "chosen": False, "why": "t-recent was not chosen: assigned more recently than t-first."},
    ]  # fmt: skip


async def test_one_trainer_may_be_asked_about(
    alone: httpx2.AsyncClient, engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "t-first")
    build.trainer(engine, "t-early", hours=("06:00", "12:00"))
    build.trainer(engine, "t-drums", courses=("course-drums",))
    order = build.purchase(engine)
    trainers.assign_trainer(order)

    early = "t-early was not chosen: not available for lesson 1 (2026-12-01 18:00)."
    for trainer_id, answer in {
        "t-first": "t-first is the only one who can give all 10 lessons: 0 future lessons held, never assigned before, 0 km away.",
        "t-early": early,
        "t-drums": "t-drums was no candidate: did not teach course-piano when it was decided.",
        "t-ghost": "t-ghost was no candidate: is no trainer known here.",
    }.items():
        assert (await asked(alone, order, trainer=trainer_id))["answer"] == answer
    few = await asked(alone, order, limit=1)
    assert len(few["held"]["candidates"]) == 2, "the one who was taken and one other"
    assert few["held"]["candidateCount"] == 2


async def test_those_who_were_not_looked_at_are_explained_when_somebody_asks(
    alone: httpx2.AsyncClient, engine: Engine, trainers: TrainerActivities
) -> None:
    crowd(engine, 205)
    build.trainer(engine, "t-early", hours=("06:00", "12:00"), last_assigned_at=NOW)
    build.trainer(engine, "t-loaded")
    build.trainer(engine, "t-drums", courses=("course-drums",))
    loaded = build.purchase(engine, "pay-2", student_id="student-2", fields={"timeSlot": "08:00"})
    decide(engine, loaded, "assign_trainer", trainerId="t-loaded")
    trainers.assign_trainer(loaded)
    order = build.purchase(engine)
    trainers.assign_trainer(order)

    seen = await asked(alone, order)
    assert seen["answer"] == (
        "c (c-000) comes first of the 200 who can give all 10 lessons, of the first 200 looked at: "
        "0 future lessons held, never assigned before, 0 km away."
    )
    assert seen["held"]["candidateCount"] == 207
    for trainer_id, why in {
        "t-loaded": "c-000 came first; now: holds 10 future slots, c-000 held 0",
        "t-early": "c-000 came first; now: not available for lesson 1 (2026-12-01 18:00)",
        "c-204": "c-000 came first",
        "c-001": "equal to c-000, whose id comes first",
    }.items():
        who = f"c ({trainer_id})" if trainer_id.startswith("c") else trainer_id
        assert (await asked(alone, order, trainer=trainer_id))["answer"] == f"{who} was not chosen: {why}."
    drums = (await asked(alone, order, trainer="t-drums"))["answer"]
    assert drums == "t-drums was no candidate: did not teach course-piano when it was decided."
    every = (await asked(alone, order, limit=5000))["held"]["candidates"]
    assert len({each["trainerId"] for each in every}) == len(every) == 207
    few = (await asked(alone, loaded, trainer="c-204"))["answer"]
    assert few == "c (c-204) was not chosen: an operator chose t-loaded."


async def test_nobody_is_explained_as_well_and_stays_when_somebody_is_found(
    alone: httpx2.AsyncClient, engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine, "t-early", hours=("06:00", "12:00"))
    order = build.purchase(engine)
    open_ = await asked(alone, order)
    assert (open_["outcome"], open_["answer"]) == ("open", "Nobody has looked for a trainer yet.")
    refuse(trainers, order)

    seen = await asked(alone, order)
    assert (seen["outcome"], seen["refused"]["code"]) == ("refused", "NO_TRAINER_AVAILABLE")
    assert seen["answer"].startswith("No trainer was taken: none of 1 trainers of course-piano can give all 10 lessons")
    assert [each["trainerId"] for each in seen["refused"]["candidates"]] == ["t-early"]

    build.trainer(engine, "t-late")
    trainers.assign_trainer(order)
    later = await asked(alone, order)
    assert (later["outcome"], later["held"]["trainerId"]) == ("held", "t-late")
    assert later["refused"] == seen["refused"]


async def test_trainers_who_were_let_go_are_listed_too(
    alone: httpx2.AsyncClient, engine: Engine, trainers: TrainerActivities
) -> None:
    for name in ("t-1", "t-2"):
        build.trainer(engine, name)
    order = build.purchase(engine)
    decide(engine, order, "assign_trainer", trainerId="t-2")
    trainers.assign_trainer(order)
    trainers.release_trainer(order)

    seen = await asked(alone, order)
    assert (seen["outcome"], seen["held"]) == ("let_go", None)
    assert seen["answer"] == (
        "t-2 was chosen by ann and was free for all 10 lessons. The allocation was let go on 2026-11-21 10:00 UTC."
    )
    [earlier] = seen["earlier"]
    assert (earlier["trainerId"], earlier["decidedBy"], earlier["status"]) == ("t-2", "ann", "cancelled")
    assert earlier["candidates"][1]["why"] == "t-1 was not chosen: an operator chose t-2."


async def test_an_allocation_from_before_reasons_were_kept_says_so(
    alone: httpx2.AsyncClient, engine: Engine, trainers: TrainerActivities
) -> None:
    build.trainer(engine)
    order = build.purchase(engine)
    trainers.assign_trainer(order)
    run(engine, "UPDATE allocations SET won = DEFAULT")

    assert (await asked(alone, order))["answer"] == "trainer-1 was chosen; by what is not on record."


async def test_an_unknown_purchase_has_no_matching(alone: httpx2.AsyncClient) -> None:
    is_problem(await alone.get("/api/v1/admin/purchases/purchase:no:1/matching"), 404, "PURCHASE_NOT_FOUND")
    is_problem(await alone.get("/api/v1/admin/purchases/purchase:no:1/matching?limit=0"), 422, "INVALID_REQUEST")
