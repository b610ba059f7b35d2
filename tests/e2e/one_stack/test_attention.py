"""Every reason to park, through HTTP on real servers: seen, understood, fixed by the act the table names (row 85)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from domain.refusals import REFUSALS
from tests.e2e.world import HOME, World, add_harpist, course, lessons_fail, market, payment, student, teachers


def put_profile(student: str) -> Callable[[World, str], None]:
    def fix(world: World, name: str) -> None:
        assert world.api.put(f"/api/v1/students/{student}/profile", json=HOME).status_code == 200

    return fix


def top_up(world: World, name: str) -> None:
    body = {"coins": 150, "reason": "bought at the desk", "requestKey": name}
    answer = world.api.post(f"/api/v1/students/student-{name}/coins", json=body)
    assert answer.json() == {"studentId": f"student-{name}", "balance": 200}


def amends(**changes: Any) -> Callable[[World, str], None]:
    return lambda world, name: world.act(name, "amend", changes=changes) and None


def provider_is_well(world: World, name: str) -> None:
    assert world.provider.delete("/_faults").is_success
    world.act(name, "retry_now")


def provider_plans(operation: str, action: str) -> Callable[[World, str], None]:
    def plan(world: World, name: str) -> None:
        fault = {"operation": operation, "payment_id": name, "times": 50, "action": action}
        assert world.provider.post("/_faults", json=[fault]).is_success

    return plan


def lessons_fail_where(which: str) -> Callable[[World, str], None]:
    return lambda world, name: lessons_fail(world, name, which)


def lessons_work_again(world: World, name: str) -> None:
    world.sql(f"DROP TRIGGER no_{name.replace('-', '_')} ON sessions")
    world.act(name, "create_sessions")


def cancel_with_a_stuck_undo(world: World, name: str) -> None:
    world.wait(name, "attention", "STUDENT_PROFILE_MISSING")
    world.sql(
        "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'planned' USING ERRCODE = '53300'; END$$",
        "CREATE TRIGGER stuck BEFORE UPDATE ON purchase_steps FOR EACH ROW"
        " WHEN (NEW.step = 'enroll' AND NEW.state = 'undone') EXECUTE FUNCTION stuck()",
    )
    world.act(name, "cancel")


def unstick(world: World, name: str) -> None:
    world.sql("DROP TRIGGER stuck ON purchase_steps")
    world.act(name, "retry_now")


@dataclass
class Case:
    """How a purchase comes to park for a reason, and what mends it."""

    payments: list[dict[str, Any]]  # the last one parks, those before complete
    fix: Callable[[World, str], None]
    ending: str = "completed"
    profile: dict[str, Any] | None = field(default_factory=lambda: HOME)
    coins: int = 0  # the student's
    before: Callable[[World, str], None] | None = None
    after_start: Callable[[World, str], None] | None = None


CASES: dict[str, Case] = {
    "UNKNOWN_ITEM": Case([payment("unknown", "course-atlantis")], amends(itemId="course-piano")),
    "METADATA_INCOMPLETE": Case([payment("incomplete", classTime=None)], amends(timeSlot="18:00")),
    "DUPLICATE_PAYMENT_SUSPECTED": Case(
        [payment("first", student="twice"), payment("second", student="twice", classTime="07:00")],
        amends(treatAs="renewal"),
    ),
    "COINS_INSUFFICIENT": Case([payment("poor", coins=200)], top_up, coins=50),
    "STUDENT_PROFILE_MISSING": Case([payment("nobody")], put_profile("student-nobody"), profile=None),
    "GPS_INVALID": Case(
        [payment("nowhere")], put_profile("student-nowhere"), profile={**HOME, "latitude": 0, "longitude": 0}
    ),
    "NO_TRAINER_AVAILABLE": Case([payment("harp", "course-harp")], add_harpist),
    "SCHEDULE_CONFLICT": Case(
        [payment("busy", student="busy"), payment("clash", "course-chess", student="busy")], amends(timeSlot="07:00")
    ),
    "SESSIONS_PARTIAL": Case(
        [payment("partial")], lessons_work_again, before=lessons_fail_where("NEW.number IN (3, 7)")
    ),
    "SESSIONS_FAILED": Case([payment("none-made")], lessons_work_again, before=lessons_fail_where("true")),
    "STEP_TROUBLE": Case([payment("trouble")], provider_is_well, before=provider_plans("get", "500_before")),
    "REFUND_FAILED": Case(
        [payment("refund-no", "course-latin")], provider_is_well, "refused", before=provider_plans("refund", "refuse")
    ),
    "REFUND_UNKNOWN": Case(
        [payment("refund-lost", "course-latin")],
        provider_is_well,
        "refused",
        before=provider_plans("refund", "500_before"),
    ),
    "COMPENSATION_STUCK": Case(
        [payment("stuck")], unstick, "cancelled", profile=None, after_start=cancel_with_a_stuck_undo
    ),
}


@pytest.fixture(scope="module")
def world(stack_of_all: World) -> World:
    whose = {paid["studentId"]: case for case in CASES.values() for paid in case.payments}
    stack_of_all.load(
        market(
            payments=[paid for case in CASES.values() for paid in case.payments],
            courses=[*map(course, ("course-piano", "course-chess", "course-harp")), course("course-latin", open=False)],
            trainers=[*teachers("course-piano", 12), *teachers("course-chess", 12)],
            students=[student(id, coins=case.coins, profile=case.profile) for id, case in whose.items()],
        )
    )
    return stack_of_all


@pytest.mark.parametrize("code", CASES)
def test_is_seen_understood_and_fixed_by_the_named_act(code: str, world: World) -> None:
    case = CASES[code]
    *earlier, last = [paid["id"] for paid in case.payments]
    if case.before:
        case.before(world, last)
    for name in earlier:
        world.start(name)
        world.wait(name, "completed")
    world.start(last)
    if case.after_start:
        case.after_start(world, last)

    seen = world.wait(last, "attention", code)
    assert seen["nextAction"] == REFUSALS[code].next_action
    told = world.api.get(f"/api/v1/admin/purchases/purchase:{last}:1/case").json()
    assert REFUSALS[code].operator.rstrip(".") in told["cause"]
    assert told["nextAction"] == REFUSALS[code].next_action

    case.fix(world, last)
    ended = world.wait(last, case.ending)
    if case.ending == "completed":
        assert ended["sessions"] == ended["sessionCount"] == 10
