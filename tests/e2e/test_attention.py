"""Every reason to park, through HTTP on real servers: seen, understood, fixed by the act the table names (row 85)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from domain.refusals import REFUSALS
from tests.e2e.stack import Up, up

HOME = {"timezone": "Europe/London", "latitude": 51.5, "longitude": -0.12}
ALWAYS = [{"weekday": day, "from": "00:00", "to": "24:00"} for day in range(1, 8)]


@dataclass
class World:
    """A running stack with HTTP to its API and its provider, and its database."""

    stack: Up
    api: httpx2.Client
    provider: httpx2.Client

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.stack.said["databaseUrl"].replace("+psycopg", "")) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def act(self, payment: str, verb: str, **values: Any) -> dict[str, Any]:
        body = {"reason": "a test asks", "requestKey": f"{payment}-{verb}", **values}
        answer = self.api.post(f"/api/v1/admin/purchases/purchase:{payment}:1/{verb}", json=body)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def row(self, payment: str) -> dict[str, Any] | None:
        rows = self.api.get("/api/v1/admin/purchases", params={"payment": payment}).json()["purchases"]
        return rows[0] if rows else None

    def wait(self, payment: str, ending: str, code: str | None = None) -> dict[str, Any]:
        until = time.monotonic() + 60
        while not ((row := self.row(payment)) and row["ending"] == ending and code in (None, row["code"])):
            assert time.monotonic() < until, row
        return row


def payment(
    name: str, course: str = "course-piano", student: str = "", coins: int = 0, **metadata: Any
) -> dict[str, Any]:
    given = {"courseId": course, "startDate": "2027-01-11", "classTime": "18:00", "purchaseTier": 10, **metadata}
    wanted = {key: value for key, value in given.items() if value is not None}
    line = {"line": 1, "itemType": "course", "itemId": course, "amountMinor": 5000, "coins": coins, "metadata": wanted}
    paid = {"id": name, "studentId": student or f"student-{name}", "status": "succeeded", "amountMinor": 5000}
    return {**paid, "currency": "USD", "lines": [line]}


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


def add_harpist(world: World, name: str) -> None:
    body = {"name": "Harpist", "courses": ["course-harp"], "availability": ALWAYS, "radiusKm": 50, **HOME}
    assert world.api.put("/api/v1/admin/trainers/harpist", json=body).status_code in (200, 201)


def asks(verb: str) -> Callable[[World, str], None]:
    return lambda world, name: world.act(name, verb) and None


def provider_is_well(world: World, name: str) -> None:
    assert world.provider.delete("/_faults").is_success
    world.act(name, "retry_now")


def provider_plans(operation: str, action: str) -> Callable[[World, str], None]:
    def plan(world: World, name: str) -> None:
        fault = {"operation": operation, "payment_id": name, "times": 50, "action": action}
        assert world.provider.post("/_faults", json=[fault]).is_success

    return plan


def lessons_fail(which: str) -> Callable[[World, str], None]:
    """No row for the lessons that `which` (a condition on NEW) names, of this payment's purchase."""

    def plan(world: World, name: str) -> None:
        mark = name.replace("-", "_")
        world.sql(
            f"CREATE FUNCTION no_{mark}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN IF ({which}) AND EXISTS (SELECT FROM student_course_purchases p WHERE p.id = NEW.purchase_id"
            f" AND p.payment_id = '{name}') THEN RETURN NULL; END IF; RETURN NEW; END$$",
            f"CREATE TRIGGER no_{mark} BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION no_{mark}()",
        )

    return plan


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
    "SESSIONS_PARTIAL": Case([payment("partial")], lessons_work_again, before=lessons_fail("NEW.number IN (3, 7)")),
    "SESSIONS_FAILED": Case([payment("none-made")], lessons_work_again, before=lessons_fail("true")),
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


def market() -> dict[str, Any]:
    students = {paid["studentId"]: case for case in CASES.values() for paid in case.payments}
    courses = {"course-piano": True, "course-chess": True, "course-harp": True, "course-latin": False}
    return {
        "version": 1,
        "students": [
            {"id": id, "name": id, "email": f"{id}@example.test", "coins": case.coins}
            | ({"profile": case.profile} if case.profile else {})
            for id, case in students.items()
        ],
        "courses": [
            {"id": id, "title": id, "priceMinor": 5000, "currency": "USD", "fulfilment": "sessions", "open": is_open}
            for id, is_open in courses.items()
        ],
        "subjects": [],
        "bundles": [],
        "trainers": [
            {
                "id": f"{course}-{number}",
                "name": "Trainer",
                "courses": [course],
                "radiusKm": 50,
                "availability": ALWAYS,
                **HOME,
            }
            for course in ("course-piano", "course-chess")
            for number in range(12)
        ],
        "carts": [],
        "payments": [paid for case in CASES.values() for paid in case.payments],
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home: Path = tmp_path_factory.mktemp("attention")
    file = home / "market.json"
    file.write_text(json.dumps(market()))
    with up(home) as stack:
        stack.run("import", str(file))
        providers = json.loads((home / "stack.json").read_text())["running"]["provider_url"]
        with stack.client() as api, httpx2.Client(base_url=providers) as other:
            yield World(stack, api, other)


@pytest.mark.parametrize("code", CASES)
def test_is_seen_understood_and_fixed_by_the_named_act(code: str, world: World) -> None:
    case = CASES[code]
    *earlier, last = [paid["id"] for paid in case.payments]
    if case.before:
        case.before(world, last)
    for name in earlier:
        world.api.post("/api/v1/purchases", json={"paymentId": name}).raise_for_status()
        world.wait(name, "completed")
    world.api.post("/api/v1/purchases", json={"paymentId": last}).raise_for_status()
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
