"""Lessons over HTTP: shown one by one, changed after the purchase is completed, moved off blocked days, as calendars."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from icalendar import Calendar
from sqlalchemy import Engine
from temporalio.client import Client

from cli.doctor.database import lessons as closed_days
from domain.ids import sweep_id_of
from runtime.schedules import keep_sweeping
from runtime.settings import Settings
from tests.api.conftest import begin, is_problem, until
from tests.build import rows, run, trainer, value
from tests.tokens import bearer
from tests.waiting import eventually

TRAINER: dict[str, Any] = {
    "name": "Tim", "courses": ["course-piano"], "timezone": "Europe/London", "radiusKm": 30,
    "availability": [{"weekday": day, "from": "06:00", "to": "22:00"} for day in range(1, 8)],
    "place": {"latitude": 51.5, "longitude": -0.12},
}  # fmt: skip


@pytest.fixture
async def purchase(api: httpx2.AsyncClient, worker: None, engine: Engine, paid: str) -> str:
    """Completed: ten lessons of trainer-1, daily at 18:00 from 1 December on."""
    trainer(engine)
    started = await begin(api, paid)
    await until(api, started, "completed")
    trainer(engine, "trainer-2")
    return started


async def change(api: httpx2.AsyncClient, purchase: str, what: str, key: str = "k1", **asked: Any) -> httpx2.Response:
    body = {"reason": "asked for by a test", "requestKey": key, **asked}
    return await api.post(f"/api/v1/admin/purchases/{purchase}/lessons/{what}", json=body)


async def lessons(api: httpx2.AsyncClient, purchase: str) -> dict[int, dict[str, Any]]:
    answer = await api.get(f"/api/v1/purchases/{purchase}/lessons")
    assert answer.status_code == 200, answer.text
    return {lesson["number"]: lesson for lesson in answer.json()["lessons"]}


async def calendar(api: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    """The entries of a calendar by UID."""
    answer = await api.get(f"/api/v1/{path}/lessons.ics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/calendar")
    return {str(entry["uid"]): entry for entry in Calendar.from_ical(answer.text).walk("VEVENT")}


def uid(engine: Engine, number: int) -> str:
    allocation = value(engine, "SELECT id FROM allocations")
    return f"{allocation}-{number}@coursaga"


async def test_lessons_change_when_the_purchase_is_completed(
    api: httpx2.AsyncClient, purchase: str, engine: Engine
) -> None:
    moved = await change(api, purchase, "3/reschedule", date="2026-12-20", timeSlot="17:30")
    assert moved.status_code == 200, moved.text
    assert moved.json()["outcome"] == "done: lesson 3 is at 2026-12-20 17:30 in Europe/London"
    again = await asyncio.gather(
        *(change(api, purchase, "3/reschedule", date="2026-12-20", timeSlot="17:30") for _ in range(4))
    )
    assert [answer.json() for answer in again] == [moved.json()] * 4
    assert (await change(api, purchase, "4/substitute", "k2", trainerId="trainer-2")).status_code == 200
    assert (await change(api, purchase, "9/substitute", "k3", trainerId="trainer-2", rest=True)).status_code == 200

    seen = await lessons(api, purchase)
    assert seen[3]["local"] == "2026-12-20T17:30"
    assert seen[3]["changes"] > 0
    assert {number for number, lesson in seen.items() if lesson["trainerId"] == "trainer-2"} == {3, 4, 9, 10}
    assert (await change(api, purchase, "transfer", "k4", trainerId="trainer-2")).json()["done"]
    assert {lesson["trainerId"] for lesson in (await lessons(api, purchase)).values()} == {"trainer-2"}
    audit = (await api.get(f"/api/v1/admin/purchases/{purchase}/acts")).json()["acts"]
    assert [(act["requestKey"], act["actor"]) for act in audit] == [(f"k{n}", "ann") for n in (1, 2, 3, 4)]


async def test_what_cannot_be_is_a_problem_by_name(api: httpx2.AsyncClient, purchase: str, engine: Engine) -> None:
    run(engine, "INSERT INTO trainer_blocked_days VALUES ('trainer-1', '2026-12-20')")
    asked = {"date": "2026-12-20", "timeSlot": "18:00"}
    first = is_problem(await change(api, purchase, "3/reschedule", **asked), 409, "TRAINER_NOT_FREE")
    run(engine, "DELETE FROM trainer_blocked_days")
    assert is_problem(await change(api, purchase, "3/reschedule", **asked), 409, "TRAINER_NOT_FREE") == first
    is_problem(await change(api, purchase, "4/reschedule", **asked), 409, "KEY_REUSED")
    is_problem(await change(api, purchase, "3/reschedule", **asked, reason="else"), 409, "KEY_REUSED")
    is_problem(await change(api, purchase, "transfer", trainerId="trainer-2"), 409, "KEY_REUSED")
    is_problem(await change(api, purchase, "11/reschedule", "k2", **asked), 404, "LESSON_NOT_FOUND")
    is_problem(
        await change(api, purchase, "3/reschedule", "k3", date="2026-12-04", timeSlot="18:30"), 409, "SCHEDULE_CONFLICT"
    )
    is_problem(
        await change(api, purchase, "3/reschedule", "k4", date="2026-02-30", timeSlot="18:00"), 422, "INVALID_REQUEST"
    )
    is_problem(await api.get("/api/v1/students/nobody/lessons.ics"), 404, "STUDENT_NOT_FOUND")
    is_problem(await api.get("/api/v1/admin/trainers/nobody/lessons.ics"), 404, "TRAINER_NOT_FOUND")
    for day in ("9999-12-31", "0001-01-01", "2201-01-01"):
        never = await change(api, purchase, "3/reschedule", "k5", date=day, timeSlot="18:00")
        is_problem(never, 422, "INVALID_REQUEST")
    for path in (f"purchases/{purchase}/lessons", "students/student-1/lessons.ics"):
        stranger = await api.get(f"/api/v1/{path}", headers=bearer("student", "student-2"))
        assert stranger.status_code == 404


async def test_a_calendar_keeps_its_entries_and_says_what_changed(
    api: httpx2.AsyncClient, purchase: str, engine: Engine
) -> None:
    before = await calendar(api, "students/student-1")
    third = before[uid(engine, 3)]
    assert len(before) == 10
    assert third.decoded("dtstart") == datetime(2026, 12, 3, 18, tzinfo=UTC)
    assert third.decoded("dtend") - third.decoded("dtstart") == timedelta(hours=1)
    assert third["description"] == "2026-12-03 18:00 local time (Europe/London)"
    assert (third["status"], third["sequence"]) == ("CONFIRMED", 0)

    await change(api, purchase, "3/reschedule", date="2026-12-20", timeSlot="17:30")
    await change(api, purchase, "4/substitute", "k2", trainerId="trainer-2")
    run(engine, "UPDATE sessions SET status = 'cancelled' WHERE number = 5")

    after = await calendar(api, "students/student-1")
    assert after.keys() == before.keys()
    assert after[uid(engine, 3)].decoded("dtstart") == datetime(2026, 12, 20, 17, 30, tzinfo=UTC)
    assert after[uid(engine, 5)]["status"] == "CANCELLED"
    changed = {name for name, entry in after.items() if entry["sequence"] > before[name]["sequence"]}
    assert changed == {uid(engine, number) for number in (3, 4, 5)}
    theirs, others = await calendar(api, "admin/trainers/trainer-1"), await calendar(api, "admin/trainers/trainer-2")
    assert {name: entry["status"] for name, entry in others.items()} == {uid(engine, 4): "CONFIRMED"}
    assert theirs[uid(engine, 4)]["status"] == "CANCELLED"
    assert len(theirs) == 10
    answer = await api.get("/api/v1/students/student-1/lessons.ics", headers=bearer("student", "student-1"))
    assert len(Calendar.from_ical(answer.text).walk("VEVENT")) == 10


async def is_at(api: httpx2.AsyncClient, purchase: str, number: int, local: str) -> None:
    """Waits until the worker has moved it there."""
    await eventually(lambda: lessons(api, purchase), lambda seen: seen[number]["local"] == local)


async def test_days_blocked_later_lose_their_lessons_and_a_sweep_that_was_missed_is_made_up_for(
    api: httpx2.AsyncClient, purchase: str, engine: Engine, temporal: Client, settings: Settings
) -> None:
    task_queue = settings.task_queue

    async def block(*days: str) -> None:
        answer = await api.put("/api/v1/admin/trainers/trainer-1", json={**TRAINER, "blockedDays": days})
        assert answer.status_code == 200

    await block("2026-12-04")  # and there is no schedule yet, as if all had died after the commit
    why = "trainer-1 is blocked on 2026-12-04"
    assert (await lessons(api, purchase))[4]["closed"] == why
    case = (await api.get(f"/api/v1/admin/purchases/{purchase}/case")).json()
    assert case["lessons"]["closed"] == [f"lesson 4, 2026-12-04T18:00: {why}"]
    assert [check.state for check in closed_days(settings)] == ["wrong"]
    try:
        await keep_sweeping(temporal, task_queue)
        await is_at(api, purchase, 4, "2026-12-11T18:00")
        await keep_sweeping(temporal, task_queue)  # another worker starts
        await block("2026-12-04", "2026-12-06")
        await is_at(api, purchase, 6, "2026-12-12T18:00")
    finally:
        await temporal.get_schedule_handle(sweep_id_of(task_queue)).delete()
    assert [check.state for check in closed_days(settings)] == ["fine"]
    assert {row.actor for row in rows(engine, "SELECT actor FROM operator_acts")} == {"system"}
    warnings = (await api.get(f"/api/v1/purchases/{purchase}")).json()["item"]["warnings"]
    assert warnings[0] == f"lesson 4 of 2026-12-04 18:00 moved to 2026-12-11 18:00: {why}"
