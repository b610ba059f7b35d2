"""Trainers and profiles over HTTP, and the purchases they heal."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from runtime.settings import Settings
from tests.api.conftest import NOBODY, begin, booted, fresh, is_problem, until
from tests.build import LESSONS, item, pay, rows, student, trainer, value
from tests.gateways.in_memory import FakeProvider

TRAINER = {
    "name": "Ada", "courses": ["course-piano"], "timezone": "Europe/London", "radiusKm": 30, "maxGroupSize": 4,
    "place": {"latitude": 51.5, "longitude": -0.12},
    "availability": [{"weekday": day, "from": "06:00", "to": "24:00"} for day in range(1, 8)],
    "blockedDays": ["2027-12-24"],
}  # fmt: skip


async def put_trainer(api: httpx2.AsyncClient, trainer_id: str = "trainer-9", **other: Any) -> httpx2.Response:
    return await api.put(f"/api/v1/admin/trainers/{trainer_id}", json={**TRAINER, **other})


@pytest.mark.usefixtures("worker")
async def test_a_new_trainer_completes_the_purchases_that_waited(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    item(engine)
    purchases: list[str] = []
    for start_date in ("2026-12-01", "2027-02-01", "2027-04-01"):  # one trainer can give them all
        student(engine, f"student-{start_date}")
        metadata = {**LESSONS, "startDate": start_date}
        payment = pay(engine, fake_provider, fresh(), student_id=f"student-{start_date}", metadata=metadata)
        purchases.append(await begin(api, payment))
    for purchase in purchases:
        await until(api, purchase, "attention")
    assert (await put_trainer(api)).status_code == 201
    for purchase in purchases:
        assert (await until(api, purchase, "completed"))["trainer"]["trainerId"] == "trainer-9"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("timezone", "latitude", "code"),
    [(None, None, "STUDENT_PROFILE_MISSING"), ("Europe/London", None, "GPS_INVALID")],
)
async def test_a_mended_profile_completes_the_purchase_that_waited(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, timezone: str, latitude: float, code: str
) -> None:
    student(engine, timezone=timezone, latitude=latitude, longitude=None)
    item(engine)
    trainer(engine)
    purchase = await begin(api, pay(engine, fake_provider, fresh()))
    assert (await until(api, purchase, "attention"))["code"] == code
    profile = {"timezone": "Europe/London", "latitude": 51.5, "longitude": -0.12}
    assert (await api.put("/api/v1/students/student-1/profile", json=profile)).status_code == 200
    await until(api, purchase, "completed")


@pytest.mark.usefixtures("worker")
async def test_data_mended_in_bulk_wakes_what_waits_for_it(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    trainer(engine)
    purchase = await begin(api, pay(engine, fake_provider, fresh()))
    assert (await until(api, purchase, "attention"))["code"] == "UNKNOWN_ITEM"
    item(engine)
    assert (await api.post("/api/v1/admin/purchases:wake")).status_code == 202
    await until(api, purchase, "completed")


async def test_a_trainer_becomes_exactly_what_was_put(api: httpx2.AsyncClient, engine: Engine) -> None:
    assert (await put_trainer(api)).status_code == 201
    hours = [{"weekday": 2, "from": "09:30", "to": "12:00"}]
    again = await put_trainer(
        api, name="Ada L.", courses=["course-chess", "course-chess"], availability=hours, blockedDays=[],
        maxGroupSize=None, place=None,
    )  # fmt: skip
    assert again.status_code == 200
    assert rows(engine, "SELECT name, latitude, max_group_size FROM trainers") == [("Ada L.", None, None)]
    assert rows(engine, "SELECT course_id FROM trainer_courses") == [("course-chess",)]
    assert rows(engine, "SELECT weekday, starts::text, ends::text FROM trainer_availability") == [
        (2, "09:30:00", "12:00:00")
    ]
    assert value(engine, "SELECT count(*) FROM trainer_blocked_days") == 0


async def test_a_trainer_may_be_put_as_the_marketplace_file_writes_one(api: httpx2.AsyncClient, engine: Engine) -> None:
    from_file = {name: value for name, value in TRAINER.items() if name not in ("place", "maxGroupSize", "blockedDays")}
    answer = await api.put("/api/v1/admin/trainers/t", json={**from_file, "latitude": 12.9, "longitude": 77.5})
    assert answer.status_code == 201
    assert rows(engine, "SELECT latitude, longitude FROM trainers") == [(12.9, 77.5)]


async def test_trainers_put_at_once_do_not_mix(api: httpx2.AsyncClient, engine: Engine) -> None:
    await asyncio.gather(*(put_trainer(api, name=f"n{n}", courses=[f"course-{n}"]) for n in range(6)))
    name, course = rows(engine, "SELECT name, course_id FROM trainers JOIN trainer_courses ON trainer_id = id")[0]
    assert name[1:] == course[-1]
    assert value(engine, "SELECT count(*) FROM trainer_availability") == 7


HOURS = {"weekday": 1, "from": "09:00", "to": "10:00"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a\u0000"}, {"courses": "course-piano"}, {"courses": ["a\u0000b"]}, {"timezone": "Nowhere/Else"},
        {"radiusKm": -1}, {"radiusKm": "30"}, {"maxGroupSize": 0}, {"maxGroupSize": 1.5}, {"availability": None},
        {"availability": [{**HOURS, "weekday": 0}]}, {"availability": [{**HOURS, "weekday": 8}]},
        {"availability": [{**HOURS, "from": "9:00"}]}, {"availability": [{**HOURS, "to": "25:00"}]},
        {"availability": [{**HOURS, "to": "09:00"}]}, {"availability": [HOURS, {**HOURS, "to": "11:00"}]},
        {"blockedDays": ["2026-02-30"]}, {"blockedDays": ["tomorrow"]}, {"blockedDays": [1]},
        {"place": {"latitude": 0, "longitude": 0}}, {"place": {"latitude": 91, "longitude": 0}}, {"place": {}}, {"x": 1},
    ],
    ids=ascii,
)  # fmt: skip
async def test_a_trainer_that_cannot_be_is_422(api: httpx2.AsyncClient, engine: Engine, wrong: dict[str, Any]) -> None:
    is_problem(await put_trainer(api, **wrong), 422, "INVALID_REQUEST")
    assert value(engine, "SELECT count(*) FROM trainers") == 0


async def test_an_unknown_student_has_no_profile(api: httpx2.AsyncClient) -> None:
    profile = {"timezone": "Europe/London", "latitude": 51.5, "longitude": -0.12}
    is_problem(await api.put("/api/v1/students/nobody/profile", json=profile), 404, "STUDENT_NOT_FOUND")


async def test_a_change_is_stored_although_temporal_is_away(settings: Settings, engine: Engine) -> None:
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        assert (await put_trainer(api)).status_code == 201
    assert value(engine, "SELECT count(*) FROM trainers") == 1
