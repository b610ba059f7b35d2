"""Where allocations wait for an admin: seen, escalated, approved; the lessons follow at once (rows 77, 79, 80, 85, 93)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from domain.refusals import REFUSALS
from runtime.child_processes import free_port
from tests.e2e.world import World, course, market, payment, teachers, world_in
from tests.samples import filled
from tests.waiting import in_time

NAMES = ("approved", "unapproved", "uncounted", "forgotten")
METERED = f"127.0.0.1:{free_port()}"
SIGNED = ("reason", "requestKey")  # every act says these for itself


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    own = {"AUTO_APPROVE_ALLOCATIONS": "false", "ATTENTION_ESCALATE_AFTER": "1s", "WORKER_METRICS_ADDRESS": METERED}
    with world_in(tmp_path_factory.mktemp("approval"), **own) as world:
        world.load(market(map(payment, NAMES), [course("course-piano")], teachers("course-piano", 12)))
        yield world


def waits_for_approval(world: World, name: str) -> None:
    world.start(name)
    seen = world.wait(name, "attention", "AWAITING_APPROVAL")
    assert (seen["sessions"], seen["nextRetry"]) == (0, None)  # nobody but an admin can say yes


def first_offered(world: World, name: str, code: str) -> dict[str, Any]:
    """What the case file says to do first, once it has named the cause as the table does."""
    told = world.api.get(f"/api/v1/admin/purchases/purchase:{name}:1/case").json()
    assert REFUSALS[code].operator.rstrip(".") in told["cause"]
    assert told["nextAction"] == REFUSALS[code].next_action
    return filled(told["actions"][0])


def mended_by_the_first_offer(world: World, name: str, code: str, verb: str) -> None:
    offer = first_offered(world, name, code)
    assert offer["verb"] == verb
    world.act(name, verb, **{key: value for key, value in offer["body"].items() if key not in SIGNED})
    row = world.wait(name, "completed")
    assert row["sessions"] == row["sessionCount"] == 10


def test_an_approved_allocation_gets_its_lessons_at_once(world: World) -> None:
    waits_for_approval(world, "approved")
    mended_by_the_first_offer(world, "approved", "AWAITING_APPROVAL", "approve_allocation")


def test_an_approval_that_was_skipped_is_asked_for_before_the_lessons(world: World) -> None:
    waits_for_approval(world, "unapproved")
    world.act("unapproved", "skip_step", step="approve_allocation")
    world.wait("unapproved", "attention", "ALLOCATION_NOT_APPROVED")
    mended_by_the_first_offer(world, "unapproved", "ALLOCATION_NOT_APPROVED", "approve_allocation")


def test_an_allocation_that_names_no_count_gets_one_from_an_admin(world: World) -> None:
    waits_for_approval(world, "uncounted")
    world.sql(  # as the older system left some behind
        "UPDATE allocations AS held SET metadata = held.metadata - 'sessionCount' FROM student_course_purchases AS bought"
        " WHERE bought.id = held.purchase_id AND bought.payment_id = 'uncounted'"
    )
    world.act("uncounted", "approve_allocation")
    world.wait("uncounted", "attention", "SESSION_COUNT_MISSING")
    mended_by_the_first_offer(world, "uncounted", "SESSION_COUNT_MISSING", "create_sessions")


def test_an_approval_that_nobody_gives_is_escalated_by_event_and_metric(world: World) -> None:
    waits_for_approval(world, "forgotten")
    metrics = f"{world.stack.said['api']}/metrics"
    in_time(lambda: figure(metrics, "coursaga_events", type="PURCHASE_ATTENTION_ESCALATED"), pause=0.2)
    assert figure(f"http://{METERED}/metrics", "coursaga_attention_escalated", code="AWAITING_APPROVAL")
    assert figure(f"{world.stack.said['api']}/metrics", "coursaga_attention", reason="AWAITING_APPROVAL") == 1


def figure(url: str, name: str, **labels: str) -> float | None:
    """The value of this sample; None when there is none."""
    answer = httpx2.get(url).raise_for_status()
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if family.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None
