"""A market on a running stack: what is sold, who pays, what operators do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from runtime.state import find
from tests.stack import Up, up
from tests.waiting import in_time

HOME = {"timezone": "Europe/London", "latitude": 51.5, "longitude": -0.12}
ALWAYS = [{"weekday": day, "from": "00:00", "to": "24:00"} for day in range(1, 8)]


@dataclass
class World:
    """A running stack with HTTP to its API and its provider, and its database."""

    stack: Up
    home: Path
    api: httpx2.Client
    provider: httpx2.Client

    def load(self, content: dict[str, Any]) -> dict[str, Any]:
        """Imports a marketplace; what the import says."""
        file = self.home / "market.json"
        file.write_text(json.dumps(content))
        return self.stack.json("import", str(file))

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.stack.said["databaseUrl"].replace("+psycopg", "")) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def start(self, *payments: str) -> None:
        for name in payments:
            self.api.post("/api/v1/purchases", json={"paymentId": name}).raise_for_status()

    def act(self, payment: str, verb: str, **values: Any) -> dict[str, Any]:
        body = {"reason": "a test asks", "requestKey": f"{payment}-{verb}", **values}
        answer = self.api.post(f"/api/v1/admin/purchases/purchase:{payment}:1/{verb}", json=body)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def row(self, payment: str) -> dict[str, Any]:
        """Its row in the list; empty before it is there."""
        rows = self.api.get("/api/v1/admin/purchases", params={"payment": payment}).json()["purchases"]
        return rows[0] if rows else {}

    def wait(self, payment: str, ending: str, code: str | None = None) -> dict[str, Any]:
        """Its row in the list, once it is at this ending."""

        def so(row: dict[str, Any]) -> bool:
            return bool(row) and row["ending"] == ending and code in (None, row["code"])

        return in_time(lambda: self.row(payment), so)


@contextmanager
def world_in(home: Path, **settings: str) -> Iterator[World]:
    """`coursaga up` in this home, without a market yet."""
    with up(home, **settings) as stack:
        running = find(home)
        assert running is not None
        with stack.client() as api, httpx2.Client(base_url=running.provider_url, trust_env=False) as provider:
            yield World(stack, home, api, provider)


def payment(
    name: str, course: str = "course-piano", student: str = "", coins: int = 0, **metadata: Any
) -> dict[str, Any]:
    given = {"courseId": course, "startDate": "2027-01-11", "classTime": "18:00", "purchaseTier": 10, **metadata}
    wanted = {key: value for key, value in given.items() if value is not None}
    line = {"line": 1, "itemType": "course", "itemId": course, "amountMinor": 5000, "coins": coins, "metadata": wanted}
    paid = {"id": name, "studentId": student or f"student-{name}", "status": "succeeded", "amountMinor": 5000}
    return {**paid, "currency": "USD", "lines": [line]}


def student(id: str, *, coins: int = 0, profile: dict[str, Any] | None = HOME) -> dict[str, Any]:
    known = {"id": id, "name": "Zoe Zander", "email": f"{id}@example.test", "coins": coins}
    return known | ({"profile": profile} if profile else {})


def course(id: str, **more: Any) -> dict[str, Any]:
    """Open and with lessons, unless `more` says otherwise."""
    sold = {"priceMinor": 5000, "currency": "USD", "fulfilment": "sessions", "open": True}
    return {"id": id, "title": id, **sold, **more}


def teachers(course: str, how_many: int, *, called: str = "") -> list[dict[str, Any]]:
    """Who teach this course around HOME, at any time."""
    free = {"courses": [course], "radiusKm": 50, "availability": ALWAYS, **HOME}
    return [{"id": f"{called or course}-{number}", "name": "Trainer", **free} for number in range(how_many)]


def market(
    payments: Iterable[dict[str, Any]],
    courses: Iterable[dict[str, Any]],
    trainers: Iterable[dict[str, Any]] = (),
    students: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A marketplace file; without `students`, one who lives at HOME for each payment."""
    paid = list(payments)
    everybody = list(students) or [student(id) for id in sorted({each["studentId"] for each in paid})]
    sold = {"courses": list(courses), "subjects": [], "bundles": []}
    people = {"students": everybody, "trainers": list(trainers)}
    return {"version": 1, **sold, **people, "carts": [], "payments": paid}


def add_harpist(world: World, name: str) -> None:
    """Somebody teaches the harp from now on."""
    body = {"name": "Harpist", "courses": ["course-harp"], "availability": ALWAYS, "radiusKm": 50, **HOME}
    assert world.api.put("/api/v1/admin/trainers/harpist", json=body).status_code in (200, 201)


def lessons_fail(world: World, name: str, which: str) -> None:
    """No row for the lessons that `which` (a condition on NEW) names, of this payment's purchase."""
    mark = name.replace("-", "_")
    world.sql(
        f"CREATE FUNCTION no_{mark}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN IF ({which}) AND EXISTS (SELECT FROM student_course_purchases p WHERE p.id = NEW.purchase_id"
        f" AND p.payment_id = '{name}') THEN RETURN NULL; END IF; RETURN NEW; END$$",
        f"CREATE TRIGGER no_{mark} BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION no_{mark}()",
    )
