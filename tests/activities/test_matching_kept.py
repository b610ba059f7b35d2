"""A matching is kept with its reasons: who won by what, why each other one lost, why nobody was taken (mission row 73)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from tests import build
from tests.activities.deciding import decide
from tests.build import NOW, rows, run, value

KEPT = "SELECT code, message, lost, decided_by, refused_at, xmin FROM refused_matchings"


@pytest.fixture
def trainers(engine: Engine, clock: Callable[[], datetime]) -> TrainerActivities:
    return TrainerActivities(engine, clock)


def refused(step: Callable[[PurchaseOrder], Any], order: PurchaseOrder) -> str:
    with pytest.raises(Refused) as caught:
        step(order)
    return caught.value.code


def test_the_winner_is_kept_with_what_it_was_weighed_by(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, "a-near", latitude=51.51, last_assigned_at=NOW - timedelta(days=3))
    build.trainer(engine, "b-recent", last_assigned_at=NOW)

    trainers.assign_trainer(build.purchase(engine))

    [kept] = rows(engine, "SELECT trainer_id, won, lost, decided_by FROM allocations")
    assert tuple(kept) == (
        "a-near",
        {"load": 0, "lastAssignedAt": "2026-11-18T10:00:00+00:00", "distanceKm": 1.1, "fitting": 2, "askedFor": False},
        {"b-recent": "assigned more recently than a-near"},
        "automatic",
    )  # fmt: skip
    assert value(engine, "SELECT count(*) FROM refused_matchings") == 0


def test_an_operators_choice_is_kept_under_the_operators_name(engine: Engine, trainers: TrainerActivities) -> None:
    for name in ("trainer-1", "trainer-2"):
        build.trainer(engine, name)
    order = build.purchase(engine)
    decide(engine, order, "assign_trainer", trainerId="trainer-2")

    trainers.assign_trainer(order)

    assert rows(engine, "SELECT trainer_id, decided_by, lost FROM allocations") == [
        ("trainer-2", "ann", {"trainer-1": "an operator chose trainer-2"})
    ]


def test_a_refusal_is_kept_with_the_reason_of_every_candidate(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, "early", hours=("06:00", "12:00"))
    build.trainer(engine, "small", max_group_size=2)
    order = build.purchase(engine, fields={"groupSize": 3})

    assert refused(trainers.assign_trainer, order) == "NO_TRAINER_AVAILABLE"

    [kept] = rows(engine, KEPT)
    assert (kept.code, kept.decided_by, kept.refused_at) == ("NO_TRAINER_AVAILABLE", "automatic", NOW)
    assert kept.lost == {
        "early": "not available for lesson 1 (2026-12-01 18:00)",
        "small": "group of 3 above 2",
    }


def test_a_look_that_finds_the_same_writes_nothing_and_another_result_replaces_the_first(engine: Engine) -> None:
    build.trainer(engine, "early", hours=("06:00", "12:00"))
    order, minutes = build.purchase(engine), iter(range(100))
    trainers = TrainerActivities(engine, lambda: NOW + timedelta(minutes=next(minutes)))
    for _ in range(5):
        refused(trainers.assign_trainer, order)
    [first] = rows(engine, KEPT)
    refused(trainers.assign_trainer, order)
    assert rows(engine, KEPT) == [first], "not even an update of the row"

    run(engine, "INSERT INTO trainer_blocked_days VALUES ('early', '2026-12-01')")
    refused(trainers.assign_trainer, order)

    [second] = rows(engine, KEPT)
    assert second.lost == {"early": "blocked on 2026-12-01 (lesson 1)"}
    assert second.refused_at > first.refused_at


def test_the_refusal_of_an_operators_trainer_names_the_operator(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, "early", hours=("06:00", "12:00"))
    order = build.purchase(engine)
    decide(engine, order, "assign_trainer", trainerId="early")

    refused(trainers.assign_trainer, order)

    [kept] = rows(engine, KEPT)
    assert kept.decided_by == "ann"
    assert kept.lost == {"early": "not available for lesson 1 (2026-12-01 18:00)"}


def test_what_is_no_matching_is_kept_too_but_not_what_was_made_whole(
    engine: Engine, trainers: TrainerActivities
) -> None:
    build.student(engine, timezone=None)
    order = build.purchase(engine)
    assert refused(trainers.assign_trainer, order) == "STUDENT_PROFILE_MISSING"
    assert value(engine, "SELECT code FROM refused_matchings") == "STUDENT_PROFILE_MISSING"

    trainers.release_trainer(order)
    assert refused(trainers.assign_trainer, order) == "ALREADY_MADE_WHOLE"
    assert value(engine, "SELECT code FROM refused_matchings") == "STUDENT_PROFILE_MISSING"


def test_the_trainer_asked_for_is_taken_before_a_better_one(engine: Engine, trainers: TrainerActivities) -> None:
    build.trainer(engine, "a-never")
    build.trainer(engine, "b-wanted", last_assigned_at=NOW)

    trainers.assign_trainer(build.purchase(engine, fields={"preferredTrainerId": "b-wanted"}))

    [kept] = rows(engine, "SELECT trainer_id, won ->> 'askedFor' AS asked, lost FROM allocations")
    assert tuple(kept) == ("b-wanted", "true", {"a-never": "b-wanted was asked for"})


@pytest.mark.parametrize("wanted", ["early", "nobody-known"])
def test_a_preference_that_cannot_be_met_keeps_nobody_waiting(
    engine: Engine, trainers: TrainerActivities, wanted: str
) -> None:
    build.trainer(engine, "early", hours=("06:00", "12:00"))
    build.trainer(engine, "z-free")

    assert trainers.assign_trainer(build.purchase(engine, fields={"preferredTrainerId": wanted})).trainer_id == "z-free"
    assert value(engine, "SELECT won ->> 'askedFor' FROM allocations") == "false"


@pytest.mark.parametrize(("latitude", "longitude"), [(51.7695, -0.12), (51.5, 0.3115)], ids=["north", "east"])
def test_a_trainer_at_the_very_edge_of_reach_is_looked_at_whole(
    engine: Engine, trainers: TrainerActivities, latitude: float, longitude: float
) -> None:
    """The query leaves out the slots of trainers out of reach; one at 29.9 of 30 km is none of them."""
    build.trainer(engine, "edge", latitude=latitude, longitude=longitude)
    run(engine, "INSERT INTO trainer_blocked_days VALUES ('edge', '2026-12-25')")
    home = {"learningMode": "home"}
    trainers.assign_trainer(build.purchase(engine, fields=home))
    build.trainer(engine, "beyond", latitude=53.0)

    assert refused(trainers.assign_trainer, build.purchase(engine, "pay-2", student_id="student-2", fields=home))
    assert value(engine, "SELECT lost FROM refused_matchings") == {
        "edge": "has another lesson",
        "beyond": "167 km away, takes 30 km",
    }
