"""/metrics agrees with the record and with what waits, and answers whatever is down (row 93)."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from runtime.settings import Settings
from tests.api.conftest import NOBODY, begin, booted, fresh, until
from tests.build import item, pay, rows, run, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.metrics.KEPT", 0)


Samples = dict[tuple[str, ...], float]


async def scraped(api: httpx2.AsyncClient) -> Samples:
    """Every sample by its name and the values of its labels, in the order of their names."""
    answer = await api.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.usefixtures("worker")
async def test_figures_agree_with_the_record(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    student(engine, "student-2")
    for course, is_open in (("course-piano", True), ("course-chess", True), ("course-closed", False)):
        item(engine, course, is_open=is_open)
    trainer(engine)
    await until(api, await begin(api, pay(engine, fake_provider, fresh())), "completed")
    closed = pay(engine, fake_provider, fresh(), items=(("course", "course-closed"),))
    await until(api, await begin(api, closed), "refused")
    waits = pay(engine, fake_provider, fresh(), student_id="student-2", items=(("course", "course-chess"),))
    await until(api, await begin(api, waits), "attention")
    waiting = ("coursaga_attention", "NO_TRAINER_AVAILABLE")
    seen = await eventually(lambda: scraped(api), lambda seen: seen.get(waiting) == 1)
    assert seen[("coursaga_purchases", "", "completed")] == 1
    assert seen[("coursaga_purchases", "COURSE_UNAVAILABLE", "refused")] == 1
    assert seen[("coursaga_purchases", "", "")] == 1
    assert seen[("coursaga_attention_oldest_seconds", "NO_TRAINER_AVAILABLE")] >= 0
    assert (seen[("coursaga_sessions_missing",)], seen[("coursaga_engineer_needed",)]) == (0, 0)
    steps = rows(engine, "SELECT state, step, count(*) AS n FROM purchase_steps GROUP BY 1, 2")
    assert {key[1:]: n for key, n in seen.items() if key[0] == "coursaga_steps"} == {(s, t): n for s, t, n in steps}
    events = rows(engine, "SELECT type, count(*) AS n FROM outbox GROUP BY 1")
    told = {key[1:]: n for key, n in seen.items() if key[0] == "coursaga_events_total"}
    assert told == {(kind,): n for kind, n in events}
    assert seen[("coursaga_outbox_unpublished",)] == sum(told.values())


async def test_answers_although_temporal_is_away(settings: Settings) -> None:
    async with booted(settings.with_values(temporal_address=NOBODY)) as api:
        seen = await scraped(api)
    assert (seen[("coursaga_up", "database")], seen[("coursaga_up", "temporal")]) == (1, 0)
    assert ("coursaga_sessions_missing",) not in seen


async def test_answers_although_the_database_is_away(settings: Settings) -> None:
    nowhere = settings.with_values(database_url=f"postgresql+psycopg://nobody:nothing@{NOBODY}/none")
    async with booted(nowhere) as api:
        seen = await scraped(api)
    assert (seen[("coursaga_up", "database")], seen[("coursaga_up", "temporal")]) == (0, 1)
    assert ("coursaga_outbox_unpublished",) not in seen


async def test_who_scrapes_often_costs_one_reading(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.metrics.KEPT", 1000)
    async with booted(settings) as api:
        answers = await asyncio.gather(*(api.get("/metrics") for _ in range(10)))
        run(engine, "INSERT INTO outbox (key, type, data, occurred_at) VALUES ('a:B', 'B', '{}', now())")
        answers.append(await api.get("/metrics"))
    assert len({answer.text for answer in answers}) == 1
