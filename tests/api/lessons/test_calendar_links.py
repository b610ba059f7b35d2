"""Private links to calendars: they open one calendar, for whoever has them, until they are removed or made anew."""

from __future__ import annotations

import httpx2
import pytest
from sqlalchemy import Engine

from tests.api.conftest import begin, is_problem, until
from tests.api.http.callers import stored
from tests.build import rows, student, trainer
from tests.tokens import bearer

STUDENT = "/api/v1/students/student-1/calendar-link"
TRAINER = "/api/v1/admin/trainers/trainer-1/calendar-link"


@pytest.fixture
async def lessons(api: httpx2.AsyncClient, worker: None, engine: Engine, paid: str) -> None:
    """Ten, of student-1 with trainer-1."""
    trainer(engine)
    await until(api, await begin(api, paid), "completed")


async def made(api: httpx2.AsyncClient, path: str, **headers: str) -> str:
    answer = await api.post(path, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["path"]


async def opened(api: httpx2.AsyncClient, path: str) -> httpx2.Response:
    """As a calendar program asks: without a token."""
    request = api.build_request("GET", path)
    del request.headers["authorization"]
    return await api.send(request)


@pytest.mark.usefixtures("lessons")
async def test_a_link_opens_the_calendar_of_its_owner_and_no_other(api: httpx2.AsyncClient, engine: Engine) -> None:
    me = bearer("student", "student-1")
    for make, own in ((STUDENT, "students/student-1"), (TRAINER, "admin/trainers/trainer-1")):
        path = await made(api, make, **(me if make == STUDENT else {}))
        answer = await opened(api, path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/calendar")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content == (await api.get(f"/api/v1/{own}/lessons.ics")).content
        assert answer.text.count("BEGIN:VEVENT") == 10
    kept = rows(engine, "SELECT * FROM calendar_links ORDER BY owner")
    assert [(row.owner, row.owner_id, row.made_by) for row in kept] == [
        ("student", "student-1", "student-1"), ("trainer", "trainer-1", "ann"),
    ]  # fmt: skip
    assert path.partition("link=")[2] not in str(kept), "what opens it is not stored"


@pytest.mark.parametrize("path", [STUDENT, TRAINER], ids=["student", "trainer"])
async def test_a_new_link_and_a_removed_one_end_what_the_old_one_opened(
    path: str, api: httpx2.AsyncClient, engine: Engine
) -> None:
    student(engine)
    trainer(engine)
    first = await made(api, path)
    second = await made(api, path)
    assert first != second
    is_problem(await opened(api, first), 404, "CALENDAR_LINK_UNKNOWN")
    assert (await opened(api, second)).status_code == 200
    for _ in range(2):
        assert (await api.delete(path)).status_code == 204
        is_problem(await opened(api, second), 404, "CALENDAR_LINK_UNKNOWN")


@pytest.mark.parametrize("link", ["x", "%00", "%F0%9F%8E%B9", "student-1", "x" * 100, "*", "' OR ''='"])
async def test_what_is_no_link_opens_nothing(link: str, api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    await made(api, STUDENT)
    before = stored(engine)
    answer = await opened(api, f"/api/public/calendar.ics?link={link}")
    is_problem(answer, 404, "CALENDAR_LINK_UNKNOWN")
    assert stored(engine) == before
    for wrong in ("", "?link=", f"?link={'x' * 101}"):
        is_problem(await opened(api, f"/api/public/calendar.ics{wrong}"), 422, "INVALID_REQUEST")


async def test_nobody_makes_the_link_of_another(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    student(engine, "student-2")
    before = stored(engine)
    for call in (api.post, api.delete):
        for path in (STUDENT, "/api/v1/students/nobody/calendar-link"):
            is_problem(await call(path, headers=bearer("student", "student-2")), 404, "STUDENT_NOT_FOUND")
        is_problem(await call(TRAINER, headers=bearer("student", "student-1")), 403, "FORBIDDEN")
        is_problem(await call(TRAINER), 404, "TRAINER_NOT_FOUND")
    assert stored(engine) == before
