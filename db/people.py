"""Store trainers, students' profiles and coin top-ups: writes of the API, no part of a saga, one transaction each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from db.request_keys import KeyReused
from db.rows import optional_row_as
from db.tables import Student
from domain.ids import older_top_up_key, top_up_key


@dataclass(frozen=True)
class Hours:
    """Weekly working hours in the trainer's zone: ISO weekday, times as HH:MM:SS."""

    weekday: int
    starts: str
    ends: str


@dataclass(frozen=True)
class TrainerRecord:
    """A whole trainer as the API stores it. `blocked_days` as YYYY-MM-DD; `max_group_size` None: any size."""

    id: str
    name: str
    timezone: str
    latitude: float | None
    longitude: float | None
    radius_km: float
    max_group_size: int | None
    courses: Sequence[str]
    availability: Sequence[Hours]
    blocked_days: Sequence[str]


# Raw: the row tells whether it is new.
_TRAINER = text(
    """
    INSERT INTO trainers (id, name, timezone, latitude, longitude, radius_km, max_group_size)
    VALUES (:id, :name, :timezone, :latitude, :longitude, :radius_km, :max_group_size)
    ON CONFLICT (id) DO UPDATE
       SET name = excluded.name, timezone = excluded.timezone, latitude = excluded.latitude,
           longitude = excluded.longitude, radius_km = excluded.radius_km, max_group_size = excluded.max_group_size
    RETURNING xmax = 0 AS is_new
    """
)
# Raw: all courses, hours and days in one statement each.
_PARTS = (
    "DELETE FROM trainer_courses WHERE trainer_id = :id",
    "DELETE FROM trainer_availability WHERE trainer_id = :id",
    "DELETE FROM trainer_blocked_days WHERE trainer_id = :id",
    """
    INSERT INTO trainer_courses (trainer_id, course_id)
    SELECT DISTINCT :id, course FROM jsonb_array_elements_text(CAST(:courses AS jsonb)) AS course
    """,
    """
    INSERT INTO trainer_availability (trainer_id, weekday, starts, ends)
    SELECT :id, weekday, starts, ends
      FROM jsonb_to_recordset(CAST(:availability AS jsonb)) AS hours (weekday int, starts time, ends time)
    """,
    """
    INSERT INTO trainer_blocked_days (trainer_id, day)
    SELECT DISTINCT :id, day::date FROM jsonb_array_elements_text(CAST(:blocked_days AS jsonb)) AS day
    """,
)
# Raw: nothing moves when an older key made the movement.
_TOP_UP = text(
    """
    INSERT INTO coin_movements (key, student_id, kind, coins, actor, reason, moved_at)
    SELECT :key, id, 'top_up', :coins, :actor, :reason, :now FROM students
     WHERE id = :id AND NOT EXISTS (SELECT FROM coin_movements WHERE student_id = :id AND key = :older)
    ON CONFLICT (key) DO NOTHING
    """
)
# Raw: under either key. A statement of its own, so that it sees the movement of another caller of the same key that was
# waited for.
_TOPPED_UP = text(
    """
    SELECT movement.coins AS topped_up, movement.reason, balance.coins AS balance
      FROM coin_movements AS movement JOIN coin_balances AS balance USING (student_id)
     WHERE movement.student_id = :id AND movement.key IN (:key, :older)
    """
)


@dataclass(frozen=True)
class _TopUp:
    topped_up: int
    reason: str
    balance: int


async def put_trainer(engine: AsyncEngine, trainer: TrainerRecord) -> bool:
    """Store exactly this trainer in place of the stored one; return True when it is new. Two writers take turns."""
    values = asdict(trainer)
    parts = {"id": trainer.id} | {
        name: json.dumps(values.pop(name)) for name in ("courses", "availability", "blocked_days")
    }
    async with engine.begin() as conn:
        is_new = bool((await conn.execute(_TRAINER, values)).scalar_one())  # locks the row: parts of one writer only
        for statement in _PARTS:
            used = {name: value for name, value in parts.items() if f":{name}" in statement}
            await conn.execute(text(statement), used)
    return is_new


async def set_profile(
    engine: AsyncEngine, student_id: str, timezone: str, latitude: float, longitude: float, own: str | None
) -> bool:
    """Store where a student lives; return False when there is no such student or it is not `own` (None: everybody)."""
    if own not in (None, student_id):
        return False
    profile = update(Student).where(col(Student.id) == student_id)
    profile = profile.values(
        {col(Student.timezone): timezone, col(Student.latitude): latitude, col(Student.longitude): longitude}
    )
    async with engine.begin() as conn:
        return (await conn.execute(profile)).rowcount == 1


async def top_up_coins(
    engine: AsyncEngine, student_id: str, coins: int, *, request_key: str, actor: str, reason: str, now: datetime
) -> int | None:
    """Add coins to a student's balance, once per request key; return the balance now, None without such a student.

    Raises KeyReused when the key came with other coins or another reason.
    """
    keys = {"key": top_up_key(student_id, request_key), "older": older_top_up_key(student_id, request_key)}
    values = {**keys, "id": student_id, "coins": coins, "actor": actor, "reason": reason, "now": now}
    async with engine.begin() as conn:
        await conn.execute(_TOP_UP, values)
        top_up = optional_row_as(_TopUp, await conn.execute(_TOPPED_UP, {**keys, "id": student_id}))
    if top_up and (top_up.topped_up, top_up.reason) != (coins, reason):
        raise KeyReused
    return top_up.balance if top_up else None
