"""The bench's last part: how long the one query of matching takes, among many trainers with many slots each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from datetime import time as wall
from typing import Any, LiteralString

from sqlalchemy import text

from cli.bench.measure import Watched
from cli.bench.meter import Timed
from db.engine import make_async_engine
from db.reads.preflight import Ahead, who_could_teach
from db.teaching import Round
from domain.matching import Place
from domain.matching_explanation import choose
from domain.refusals import Refused
from domain.schedule import Lesson, plan_lessons
from domain.wanted_lessons import WantedLessons

_COURSES = 20  # that the trainers share: of 5,000 each has 250; one course more is taught by all
_SLOTS = 30  # of each trainer
_SEARCHES = 200
_LOOKS_AT_ALL = 30
_CENTRE = Place(51.5, -0.12)
_ZONE = "Europe/London"
_WANTED = WantedLessons(
    date(2030, 12, 1), wall(18), 60, "daily", sunday_only=False, learning_mode="online", group_size=1
)

# Trainers on a grid around the centre, in three zones, each with a student for 30 daily lessons from 2030-12-01 on.
# Their slots are paid for, so they count as lessons do, but all by one of the bench's purchases: of its allocations only
# one may be live.
_SEED: tuple[LiteralString, ...] = (
    """INSERT INTO trainers (id, name, timezone, latitude, longitude, radius_km)
       SELECT 'match-' || n, 'match-' || n, (ARRAY['Europe/London', 'Asia/Kolkata', 'America/New_York'])[1 + n % 3],
         51.5 + (n % 71) * 0.02, -0.12 + (n / 71) * 0.03, 30
       FROM generate_series(0, :trainers - 1) AS n""",
    """INSERT INTO trainer_courses
       SELECT 'match-' || n, course FROM generate_series(0, :trainers - 1) AS n,
         unnest(ARRAY['match-all', 'match-' || n % :courses]) AS course""",
    """INSERT INTO trainer_availability
       SELECT 'match-' || n, weekday, '06:00', '22:00'
       FROM generate_series(0, :trainers - 1) AS n, generate_series(1, 7) AS weekday""",
    """INSERT INTO students (id, name) SELECT 'match-' || n, 'match-' || n FROM generate_series(0, :trainers - 1) AS n""",
    """INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at)
       SELECT 'match-' || n, (SELECT min(id) FROM student_course_purchases), 'match-' || n, 'match-' || n, 'cancelled',
         now()
       FROM generate_series(0, :trainers - 1) AS n""",
)
_SLOT: LiteralString = """INSERT INTO trainer_slots (allocation_id, number, trainer_id, student_id, during, local_start, zone, status)
       SELECT 'match-' || n, k, 'match-' || n, 'match-' || n, tstzrange(at, at + interval '1 hour', '[)'), '2030-12-01',
         'UTC', 'held'
       FROM generate_series(0, :trainers - 1) AS n, LATERAL (SELECT CAST(:number AS integer) AS k) AS slot,
         LATERAL (SELECT timestamptz '2030-12-01 08:00Z' + (k - 1) * interval '1 day' + n % 12 * interval '1 hour' AS at)
           AS first"""


async def measure_matching(database_url: str, trainers: int, watched: Watched) -> dict[str, Any]:
    """Return ms of the query and of the choice from its rows, for a course that some teach and one that all do."""
    watched.say(f"{trainers} trainers with {_SLOTS} slots each")
    lessons = plan_lessons(_WANTED, _SLOTS, _ZONE, _WANTED.start_date)
    engine = make_async_engine(database_url, pool_size=1, statement_timeout_ms=0)
    try:
        async with engine.begin() as conn:
            for statement in _SEED:
                await conn.execute(text(statement), {"trainers": trainers, "courses": _COURSES})
            for number in range(1, _SLOTS + 1):  # one at a time: a statement may take some seconds at most
                await conn.execute(text(_SLOT), {"trainers": trainers, "number": number})
        async with engine.connect() as conn:
            await (await conn.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))
        watched.say("matching")
        async with engine.connect() as conn:

            def look(course: str, home: Place | None) -> Callable[[], Awaitable[Ahead]]:
                return lambda: who_could_teach(conn, "nobody", course, lessons, datetime.now(UTC), Round(home))

            some = await _timed(look("match-0", None), _SEARCHES)
            near = await _timed(look("match-0", _CENTRE), _SEARCHES)
            everybody = await _timed(look("match-all", None), _LOOKS_AT_ALL)
            seen = await look("match-0", None)()
            every = await look("match-all", None)()
    finally:
        await engine.dispose()
    return {
        "trainers": trainers, "slotsEach": _SLOTS, "rows": seen.teaching,
        "p50Ms": some.ms(0.5), "p95Ms": some.ms(0.95), "homeP95Ms": near.ms(0.95), "choiceMs": _choice_ms(seen, lessons),
        "allRows": every.teaching, "allP50Ms": everybody.ms(0.5), "allP95Ms": everybody.ms(0.95),
        "allChoiceMs": _choice_ms(every, lessons),
    }  # fmt: skip


async def _timed(look: Callable[[], Awaitable[Ahead]], times: int) -> Timed:
    await look()
    each: list[float] = []
    began = time.perf_counter()
    for _ in range(times):
        asked = time.perf_counter()
        await look()
        each.append(time.perf_counter() - asked)
        await asyncio.sleep(0)
    return Timed(each, time.perf_counter() - began)


def _choice_ms(seen: Ahead, lessons: list[Lesson]) -> float:
    began = time.perf_counter()
    with suppress(Refused):
        choose("match", seen.trainers, lessons, home=_CENTRE, wanted=_WANTED)
    return round((time.perf_counter() - began) * 1000, 1)
