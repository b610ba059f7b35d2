"""Doors without a payment: of any number of requests at once one makes a purchase (mission rows 39, 60, 62)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import pairwise

import pytest
import pytest_asyncio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import make_async_engine
from db.grants import API
from db.reads.purchases import remaining_of
from db.request_keys import Key, KeyReused
from db.requests import Request, claim_by_key, claim_free
from domain.ids import free_workflow_id_of, purchase_id_of
from tests.build import NOW, item, purchase, rows, run, student
from tests.roles import as_role

TODAY = date(2026, 11, 21)
FREE = partial(free_workflow_id_of, "student-1", "course", "course-piano")
ASKED = Request("student-1", "course", "course-piano", {"courseId": "course-piano"}, "ann", "why")


@pytest_asyncio.fixture(loop_scope="session")
async def pool(database_url: str, engine: Engine) -> AsyncIterator[AsyncEngine]:
    student(engine)
    item(engine)
    made = make_async_engine(as_role(API, database_url), pool_size=20)
    yield made
    await made.dispose()


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.soak)])
async def test_twenty_of_each_door_at_once_leave_one_purchase(rounds: int, pool: AsyncEngine, engine: Engine) -> None:
    for number in range(rounds):
        someone = student(engine, f"student-of-{number}")
        asked = Request(someone, "course", "course-piano", {}, "ann", "why")
        named = partial(free_workflow_id_of, someone, "course", "course-piano")
        told = await asyncio.gather(
            *(claim_free(pool, named, asked, NOW) for _ in range(20)),
            *(claim_by_key(pool, f"purchase:manual:{number}-{key}", asked, NOW) for key in range(20)),
        )
        assert len(set(told)) == 1
    assert rows(engine, "SELECT count(*), count(DISTINCT student_id) FROM purchase_starts") == [(rounds, rounds)]
    assert rows(engine, "SELECT count(*) FROM purchase_requests") == [(rounds,)]


async def test_one_key_for_two_items_at_once_is_one_of_them(pool: AsyncEngine, engine: Engine) -> None:
    other = Request("student-1", "course", "course-chess", {}, "ann", "why")
    told = await asyncio.gather(*(claim_by_key(pool, "purchase:manual:k", one, NOW) for one in (ASKED, other) * 10))
    assert set(told) == {purchase_id_of("purchase:manual:k")}
    assert rows(engine, "SELECT count(*) FROM purchase_requests") == [(1,)]


@pytest.mark.parametrize(
    "over",
    [
        "UPDATE student_course_purchases SET expires_on = '2026-11-20'",
        "UPDATE students SET timezone = 'Pacific/Kiritimati'",  # where it is tomorrow already
    ],
    ids=["yesterday", "today, elsewhere"],
)
async def test_who_has_the_item_is_answered_with_it_unless_it_is_over(
    over: str, pool: AsyncEngine, engine: Engine
) -> None:
    has = purchase(engine).purchase_id
    assert await claim_free(pool, FREE, ASKED, NOW) == has
    assert await claim_by_key(pool, "purchase:manual:k", ASKED, NOW) == has
    run(engine, "UPDATE student_course_purchases SET expires_on = :today", today=TODAY)
    assert await claim_free(pool, FREE, ASKED, NOW) == has  # its last day
    run(engine, over)
    assert await claim_free(pool, FREE, ASKED, NOW) == purchase_id_of(FREE(1))


async def test_a_free_item_is_numbered_once_the_one_before_has_ended(pool: AsyncEngine, engine: Engine) -> None:
    for nth in (1, 2, 3):
        for _ in range(2):
            assert await claim_free(pool, FREE, ASKED, NOW) == purchase_id_of(FREE(nth))
        run(engine, "UPDATE purchase_starts SET ending = 'cancelled', ended_at = :now", now=NOW)
    found = rows(engine, "SELECT workflow_id FROM purchase_starts ORDER BY started_at")
    first = "purchase:free:student-1:course:course-piano"
    assert found == [(first,), (f"{first}:2",), (f"{first}:3",)]


async def test_what_supersedes_is_its_own_and_a_key_keeps_its_purchase(pool: AsyncEngine, engine: Engine) -> None:
    has = purchase(engine).purchase_id
    anew = Request(**{**vars(ASKED), "supersede": True})
    for _ in range(2):
        assert await claim_by_key(pool, "purchase:manual:k", anew, NOW) == purchase_id_of("purchase:manual:k") != has
    run(engine, "UPDATE purchase_starts SET ending = 'completed', ended_at = :now", now=NOW)
    assert await claim_by_key(pool, "purchase:manual:k", anew, NOW) == purchase_id_of("purchase:manual:k")


async def test_a_key_keeps_the_answer_it_had_whatever_became_of_that(pool: AsyncEngine, engine: Engine) -> None:
    has = purchase(engine).purchase_id
    free, direct = Key("free", "student-1", "k", {"a": 1}), Key("purchases", "ann", "k", {"a": 1})

    async def told() -> list[str]:
        return [
            await claim_free(pool, FREE, ASKED, NOW, free),
            await claim_by_key(pool, "purchase:manual:k", ASKED, NOW, direct),
        ]

    assert await told() == [has, has]
    run(engine, "UPDATE student_course_purchases SET status = 'voided', voided_at = :now", now=NOW)
    assert await told() == [has, has]
    assert await claim_free(pool, FREE, ASKED, NOW, replace(free, key="k2")) == purchase_id_of(FREE(1))
    for other in (free, direct):
        with pytest.raises(KeyReused):
            await claim_free(pool, FREE, ASKED, NOW, replace(other, said={"a": 2}))


async def test_lessons_still_to_come_are_counted_along_the_renewals(pool: AsyncEngine, engine: Engine) -> None:
    ids = [purchase(engine, f"pay-{n}", item_id=f"course-{n}").purchase_id for n in (1, 2, 3)]
    for older, newer in pairwise(ids):
        run(
            engine,
            "UPDATE student_course_purchases SET status = 'superseded', superseded_by = :newer WHERE id = :older",
            older=older, newer=newer,
        )  # fmt: skip
    run(engine, "INSERT INTO trainers (id, name, timezone, radius_km) VALUES ('t', 't', 'UTC', 1)")
    for number, purchase_id in enumerate(ids):
        run(
            engine,
            "INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at)"
            " VALUES (:id, :id, 't', 'student-1', 'approved', :now)",
            id=purchase_id, now=NOW,
        )  # fmt: skip
        run(
            engine,
            "WITH lesson AS (SELECT n, CAST(:now AS timestamptz) + (n - 2) * interval '1 day' + :shift * interval '2 hours'"
            "                  AS at FROM generate_series(1, 4) AS n),"
            " slot AS (INSERT INTO trainer_slots SELECT :id, n, 't', 'student-1', tstzrange(at, at + interval '1 hour'),"
            "                 at AT TIME ZONE 'UTC', 'UTC', 'held' FROM lesson)"
            " INSERT INTO sessions (allocation_id, number, purchase_id, starts_at, ends_at, local_start, zone, status,"
            " created_at) SELECT :id, n, :id, at, at + interval '1 hour', at AT TIME ZONE 'UTC', 'UTC',"
            " CASE n WHEN 4 THEN 'cancelled' ELSE 'scheduled' END, :now FROM lesson",
            id=purchase_id, now=NOW, shift=number,
        )  # fmt: skip
    async with pool.connect() as conn:  # of 4 each: 1 has ended, 1 is under way or comes today, 1 comes, 1 is cancelled
        assert [await remaining_of(conn, purchase_id, NOW) for purchase_id in ids] == [2, 4, 6]
