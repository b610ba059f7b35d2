"""Markets at random, each in a transaction that is rolled back; and the rule by which every trainer was looked at.

A market has up to a dozen trainers, some of whom teach the course, with lessons that were paid for and times that are
held, begun, to come and cancelled. Everything of it is drawn from its seed.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from db.loads import count_begun_in
from db.rows import rows_as
from db.slot_holds import LET_GO
from db.teaching import PLAN, Round, TrainerRow, parameters, trainers_of
from domain.matching import Place, TrainerFacts
from domain.schedule import Lesson, plan_lessons
from domain.wanted_lessons import WantedLessons
from tests import build
from tests.build import NOW

HOME = Place(51.5, -0.12)
STUDENTS = 8  # each with one purchase; those of odd number pay late and hold times before
ZONES = ("Europe/London", "Asia/Kolkata", "America/New_York")
PLACES = ((51.5, -0.1), (51.6, -0.12), (52.4, -0.12), (None, None), (51.7695, -0.12))

# Everybody who teaches the course with all slots counted anew, in any order: what `trainers.load` is no part of.
EVERYBODY = text(f"""
WITH {PLAN}
SELECT trainers.id, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at,
  (SELECT string_agg(weekday || ' ' || starts || ' ' || ends, ',') FROM trainer_availability
   WHERE trainer_id = trainers.id) AS hours,
  (SELECT array_agg(day) FROM trainer_blocked_days WHERE trainer_id = trainers.id) AS blocked,
  (SELECT count(*) > 0 FROM trainer_slots AS slot WHERE slot.trainer_id = trainers.id AND slot.status <> 'cancelled'
   AND slot.during && (SELECT during FROM times) AND slot.allocation_id NOT IN (SELECT id FROM gone)) AS busy,
  (SELECT count(*) FROM trainer_slots AS slot WHERE slot.trainer_id = trainers.id AND slot.status <> 'cancelled'
   AND lower(slot.during) > :now AND slot.allocation_id NOT IN (SELECT id FROM gone)) AS load
FROM trainers JOIN trainer_courses ON trainer_id = trainers.id AND course_id = 'course-piano'
""")  # noqa: S608 -- a constant
FILL = {
    "trainers": """INSERT INTO trainers
        (id, name, timezone, latitude, longitude, radius_km, max_group_size, last_assigned_at)
      SELECT id, id, zone, latitude, longitude, 30, size, at FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS each (id text, zone text, latitude float8, longitude float8, size integer, at timestamptz)""",
    "courses": """INSERT INTO trainer_courses SELECT id, 'course-piano'
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS each (id text)""",
    "hours": """INSERT INTO trainer_availability SELECT id, weekday, opens, closes
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS each (id text, opens time, closes time),
        generate_series(1, 7) AS weekday""",
    "blocked": """INSERT INTO trainer_blocked_days SELECT id, day
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS each (id text, day date)""",
    "allocations": """INSERT INTO allocations (id, purchase_id, trainer_id, student_id, status, created_at, course_id,
        hold_number, hold_expires_at)
      SELECT each.id, paid.id, trainer, student, each.status, '2026-11-01', 'course-piano', 1, expires
      FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS each (id text, trainer text, student text, status text, expires timestamptz)
      LEFT JOIN student_course_purchases AS paid ON student_id = student AND expires IS NULL""",
    "slots": """INSERT INTO trainer_slots
        (allocation_id, number, trainer_id, student_id, during, local_start, zone, status)
      SELECT allocation, number, trainer, student, tstzrange(at, at + interval '1 hour'), '2026-12-01', 'UTC', status
      FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS each (allocation text, number integer, trainer text, student text, at timestamptz, status text)""",
}
CHANGES = (
    "UPDATE trainer_slots SET status = 'cancelled' WHERE number = :number",
    "UPDATE trainer_slots SET status = 'held' WHERE number = :number"
    " AND allocation_id IN (SELECT id FROM allocations WHERE status <> 'cancelled')",  # a hold that ended stays so
    "UPDATE trainer_slots SET trainer_id = :trainer WHERE number = :number AND allocation_id = :allocation"
    " AND allocation_id IN (SELECT id FROM allocations WHERE purchase_id IS NOT NULL)",  # nobody changes what is held
    "UPDATE trainer_slots SET during = tstzrange(lower(during) + interval '7 hours', upper(during) + interval '7 hours')"
    " WHERE allocation_id = :allocation",
    "UPDATE allocations SET status = 'proposed', purchase_id ="
    " (SELECT id FROM student_course_purchases AS own WHERE own.student_id = allocations.student_id)"
    " WHERE id = :allocation AND status = 'on_hold'",
    "UPDATE trainer_slots SET status = 'cancelled' WHERE allocation_id = :allocation",
    "UPDATE trainers SET last_assigned_at = :at WHERE id = :trainer",
    "DELETE FROM trainer_courses WHERE trainer_id = :trainer",
)


@dataclass(frozen=True)
class Asked:
    """A search: who looks, at what time, for which lessons."""

    student_id: str
    now: datetime
    lessons: list[Lesson]
    wanted: WantedLessons

    def whom(self, most: int) -> Round:
        near = HOME if self.wanted.learning_mode == "home" else None
        preferred = self.wanted.preferred_trainer
        return Round(near, self.wanted.group_size, (preferred,) if preferred else (), most=most)


def open_market(engine: Engine) -> None:
    """What all markets share: students, each with a purchase."""
    build.item(engine)
    for number in range(STUDENTS):
        build.purchase(engine, f"pay-{number}", student_id=f"s{number}")


def fill(connection: Connection, draw: random.Random) -> None:
    """Put one market into the tables."""
    trainers = [f"t{number}" for number in range(draw.randint(1, 12))]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in FILL}
    for name in trainers:
        latitude, longitude = draw.choice(PLACES)
        rows["trainers"].append({
            "id": name, "zone": draw.choice(ZONES), "latitude": latitude, "longitude": longitude,
            "size": draw.choice([None, None, 1, 3]),
            "at": draw.choice([None, "2026-11-01T00:00Z", "2026-11-02T00:00Z"]),
        })  # fmt: skip
        early = draw.random() < 0.2
        rows["hours"].append({"id": name, "opens": "00:00", "closes": "09:00" if early else "00:01" if draw.random() < 0.1 else "23:59"})  # fmt: skip
        if draw.random() < 0.9:
            rows["courses"].append({"id": name})
        if draw.random() < 0.1:
            rows["blocked"].append({"id": name, "day": f"2026-11-{draw.randint(21, 30)}"})
    taken: set[tuple[str, int]] = set()
    for number in range(STUDENTS):
        if draw.random() < 0.2:
            continue
        trainer, student, held = draw.choice(trainers), f"s{number}", number % 2 == 1
        expires = NOW + timedelta(hours=draw.randint(-2, 200))
        rows["allocations"].append({
            "id": f"a{number}", "trainer": trainer, "student": student,
            "status": "on_hold" if held else "approved", "expires": expires.isoformat() if held else None,
        })  # fmt: skip
        for slot in range(1, draw.randint(1, 6)):
            hour = draw.choice([8, 14, 18]) + 24 * draw.randint(-3, 14)  # before and after
            if (trainer, hour) not in taken and (student, hour) not in taken:
                taken |= {(trainer, hour), (student, hour)}
                at = NOW.replace(hour=0) + timedelta(hours=hour)
                rows["slots"].append({
                    "allocation": f"a{number}", "number": slot, "trainer": trainer, "student": student,
                    "at": at.isoformat(), "status": draw.choice(["held", "held", "held", "cancelled"]),
                })  # fmt: skip
    for name, statement in FILL.items():
        if rows[name]:
            connection.execute(text(statement), {"rows": json.dumps(rows[name])})


def happen(connection: Connection, draw: random.Random, now: datetime) -> None:
    """One thing changes; what a constraint refuses does not."""
    if draw.random() < 0.2:
        connection.execute(LET_GO, {"ids": [], "now": now})
    if draw.random() < 0.3:
        count_begun_in(connection, now, draw.choice([1, 500]))
    values = {
        "number": draw.randint(1, 5), "allocation": f"a{draw.randrange(STUDENTS)}", "trainer": f"t{draw.randrange(12)}",
        "at": draw.choice([None, NOW, NOW + timedelta(seconds=1)]),
    }  # fmt: skip
    change = draw.choice(CHANGES)
    try:
        with connection.begin_nested():
            connection.execute(text(change), {name: each for name, each in values.items() if f":{name}" in change})
    except IntegrityError:
        pass


def asked(draw: random.Random, now: datetime) -> Asked:
    """A search at this time."""
    first = now.date() + timedelta(days=draw.randint(1, 6))
    start = time(draw.choice([7, 13, 14, 18]), draw.choice([0, 30]))
    wanted = WantedLessons(
        first, start, 60, "daily", False, draw.choice(["online", "online", "home"]), draw.choice([1, 1, 2]),
        draw.choice([None, None, f"t{draw.randrange(12)}"]),
    )  # fmt: skip
    return Asked(
        f"s{draw.randrange(STUDENTS)}", now, plan_lessons(wanted, draw.randint(1, 3), "Europe/London", first), wanted
    )


def everybody(connection: Connection, one: Asked) -> tuple[TrainerFacts, ...]:
    """All who teach the course, as the rule of before looked at them."""
    values = {**parameters(one.lessons, one.now, Round()), "student_id": one.student_id}
    used = {name: each for name, each in values.items() if f":{name}" in EVERYBODY.text}
    return trainers_of(rows_as(TrainerRow, connection.execute(EVERYBODY, used)))


def moment(draw: random.Random, after: datetime) -> datetime:
    """A later time, at times the very start of a lesson."""
    later = after + timedelta(minutes=draw.choice([1, 30, 600, 1500]))
    return later.replace(hour=18, minute=0) if draw.random() < 0.2 and later.hour < 18 else later
